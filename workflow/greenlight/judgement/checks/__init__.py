"""Checks: one rule applied to the evidence of one variant. Each module here is one topic."""
