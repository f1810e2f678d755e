"""How a verdict is reached.

1. `expected`: results/expected.json says what the run should have measured, before it measured anything.
2. `evidence` reads every file that this names and nothing else. Records are sealed with a hash of themselves and
   state the hashes of the files that their jobs read and wrote, from forecasts to scores; what is missing,
   doubled, cut off, changed, stale, not finite or of another run becomes a `Problem`, never an exception.
3. `checks` apply one rule each to one variant: does it run N of N times, did compilation do what it should, does
   it compute the same before any sampling, does it forecast as well as its partner (same random numbers), as the
   reference, and as naive forecasts, is it as fast and steady, does its memory stay, and did anything change since
   the accepted run (`baseline`). `rules` holds every limit with its default, and which checks block.
4. `decision` chooses per model among the variants that nothing blocks: the fastest whose lower bound clears the
   margin over the simpler ones, chosen on some processes and confirmed on others.
5. `judge` puts it together. The gate passes only if, for every model, nothing blocks the variant that production
   would run: the one that the configuration names as deployed, else the one chosen.

Where planned pairs, replicates or the one seed of the scores decide nothing, the stage that measures them goes on
within a budget, and the error rates are split over its looks (`sequential`, `draws`, `comparison`); those know no more
of judgement than `statistics`, so that a change of a rule makes no measurement stale but those that rest on it.

A pass is a bound below a limit; a failure is a bound beyond one, or evidence that is missing; what the evidence
can't say is inconclusive and does not pass a blocking check. The exception is documented by its severity,
`block-on-fail`: comparisons that Monte-Carlo noise or a shared machine can't settle with the usual numbers of
samples and pairs, and whose ground other blocking checks cover. p-values of a model's variants are corrected
by Holm's method; checks that must all pass need no correction, since each already is held to its own rate.

Judgement imports neither torch nor anything that runs a model, and is pure: same evidence, rules and baselines,
same bytes. `judge` takes well under a second for 500 symbols.
"""
