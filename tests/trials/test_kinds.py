"""The kinds that a CPU can't produce, from error texts as torch, CUDA and Triton word them."""

import pytest

from greenlight.trials.kinds import KINDS, RULES, classify_exception, exception_in_log

OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
    "capacity of 23.64 GiB of which 1.19 GiB "
    "is free. Including non-PyTorch memory, this process has 22.44 GiB "
    "memory in use. Of the allocated memory "
    "21.80 GiB is allocated by PyTorch, and 212.31 MiB is reserved by "
    "PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation."
)
CUDA_TAIL = (
    "\nCUDA kernel errors might be asynchronously reported at some other "
    "API call, so the stacktrace below might "
    "be incorrect.\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to "
    "enable device-side assertions.\n"
)
OVERWRITTEN = (
    "Error: accessing tensor output of CUDAGraphs that has been "
    "overwritten by a subsequent run. Stack trace: "
    'File "/srv/toto/model/toto.py", line 120, in forward\n    return '
    "self.unembed(x). To prevent overwriting, "
    "clone the tensor outside of torch.compile() or call "
    "torch.compiler.cudagraph_mark_step_begin() before each "
    "model invocation."
)
# As torch 2.11 worded it on an H200 when Kronos was compiled as published: the second and every later call.
OVERWRITTEN_INSIDE_DYNAMO = (
    "RuntimeError: Error: accessing tensor output of CUDAGraphs that has been overwritten by a subsequent run. Stack "
    'trace: File "/srv/greenlight_forecasters/kronos/network.py", line 130, in decode_s1\n    x = block(x)\n  File '
    '"/srv/greenlight_forecasters/kronos/layers.py", line 117, in forward\n    cosine, sine = self.rotary(x.shape[1])\n'
    "To prevent overwriting, clone the tensor outside of torch.compile() or call "
    "torch.compiler.cudagraph_mark_step_begin() before each model invocation.\n\nfrom user code:\n    return vector * "
    "cosine + torch.cat((-second, first), dim=-1) * sine\n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace"
)
RECOMPILE = (
    "Detected recompile when torch.compile stance is 'fail_on_recompile'. "
    "filename: '/srv/model.py', function "
    "name: 'forward', line number: 12\n    triggered by the following "
    "guard failure(s):\n    - 0/0: tensor 'x' "
    "size mismatch at index 0. expected 4, actual 5"
)
CASES = [
    ("OutOfMemoryError", OUT_OF_MEMORY, "out-of-device-memory"),
    ("AcceleratorError", "CUDA error: out of memory" + CUDA_TAIL, "out-of-device-memory"),
    (
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "out-of-device-memory",
    ),
    ("InductorError", f"OutOfMemoryError: {OUT_OF_MEMORY}", "out-of-device-memory"),
    (
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: "
        "can't allocate memory: you tried to "
        "allocate 8796093022208 bytes. Error code 12 (Cannot allocate memory)",
        "out-of-host-memory",
    ),
    ("OSError", "[Errno 12] Cannot allocate memory", "out-of-host-memory"),
    (
        "CppCompileError",
        "C++ compile error\n\nCommand:\ng++ /tmp/x.main.cpp\n\nOutput:\ng++: fatal error: Killed signal "
        "terminated program cc1plus\ncompilation terminated.",
        "out-of-host-memory",
    ),
    ("RuntimeError", OVERWRITTEN, "graph-output-overwritten"),
    ("InternalTorchDynamoError", OVERWRITTEN_INSIDE_DYNAMO, "graph-output-overwritten"),
    ("AcceleratorError", "CUDA error: device-side assert triggered" + CUDA_TAIL, "device-assert"),
    ("AcceleratorError", "CUDA error: unspecified launch failure" + CUDA_TAIL, "launch-failure"),
    ("RuntimeError", "CUDA error: an illegal memory access was encountered" + CUDA_TAIL, "launch-failure"),
    ("RuntimeError", "CUDA error: misaligned address" + CUDA_TAIL, "launch-failure"),
    ("RuntimeError", "Triton Error [CUDA]: an illegal memory access was encountered", "launch-failure"),
    (
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k)`",
        "launch-failure",
    ),
    (
        "RuntimeError",
        "CUDA error: operation not permitted when stream is capturing" + CUDA_TAIL,
        "launch-failure",
    ),
    (
        "BackendCompilerFailed",
        "backend='inductor' raised:\nCompilationError: at 12:11:\n    tmp0 = tl.load(in_ptr0 + (x0))",
        "compile-error",
    ),
    ("InductorError", "LoweringException: AssertionError: \n  target: aten.view.default", "compile-error"),
    (
        "CppCompileError",
        "C++ compile error\n\nCommand:\ng++ x.cpp\n\nOutput:\nx.cpp:12:5: error: expected ';'",
        "compile-error",
    ),
    (
        "OutOfResources",
        "out of resource: shared memory, Required: 131072, Hardware limit: 101376. Reducing block sizes or "
        "`num_stages` may help.",
        "compile-error",
    ),
    ("RuntimeError", RECOMPILE, "compile-error"),
    ("FailOnRecompileLimitHit", "Hard failure due to fullgraph=True", "compile-error"),
    ("UserError", "Dynamic control flow is not supported at the moment.", "other"),
    (
        "InductorError",
        "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')",
        "missing-dependency",
    ),
    (
        "TritonMissing",
        "Cannot find a working triton installation. Either the package is not installed or it is too old.",
        "missing-dependency",
    ),
    (
        "CppCompileError",
        "C++ compile error\n\nfatal error: Python.h: No such file or directory",
        "missing-dependency",
    ),
    ("AssertionError", "Torch not compiled with CUDA enabled", "missing-dependency"),
    ("ModuleNotFoundError", "No module named 'gluonts'", "missing-dependency"),
    (
        "LocalEntryNotFoundError",
        "Cannot find the requested files in the disk cache and outgoing traffic has been disabled.",
        "missing-weights",
    ),
    (
        "RuntimeError",
        'Error(s) in loading state_dict for Toto:\n\tMissing key(s) in state_dict: "model.unembed.weight".',
        "missing-weights",
    ),
    ("RuntimeError", "The size of tensor a (4) must match the size of tensor b (5)", "other"),
]


@pytest.mark.parametrize(("name", "text", "kind"), CASES, ids=[f"{i}-{c[2]}" for i, c in enumerate(CASES)])
def test_error_texts(name, text, kind):
    found, advice = classify_exception([{"types": [name, "Exception"], "message": text}])
    assert found == kind
    assert (advice == "") == (kind == "other")


def test_busy_device_has_advice_though_its_kind_is_other():
    text = "CUDA error: CUDA-capable device(s) is/are busy or unavailable" + CUDA_TAIL
    kind, advice = classify_exception([{"types": ["AcceleratorError"], "message": text}])
    assert kind == "other" and "who holds it" in advice


def test_rules_name_known_kinds():
    assert {rule.kind for rule in RULES} < set(KINDS)


def test_cause_is_seen_behind_a_compiler_error():
    chain = [
        {"types": ["BackendCompilerFailed"], "message": "backend='inductor' raised:"},
        {"types": ["OutOfMemoryError"], "message": OUT_OF_MEMORY},
    ]
    assert classify_exception(chain)[0] == "out-of-device-memory"


def test_abort_of_native_code_is_read_from_the_log():
    log = (
        "loading\nterminate called after throwing an instance of 'c10::AcceleratorError'\n"
        "  what():  CUDA error: unspecified launch failure\nException raised "
        "from c10_cuda_check_implementation\n"
    )
    assert classify_exception(exception_in_log(log))[0] == "launch-failure"


def test_log_without_an_exception_tells_nothing():
    assert exception_in_log("step 1\nRuntimeError is what we test for\nstep 2\n") == []


def test_last_traceback_of_a_log_counts():
    log = (
        'Traceback (most recent call last):\n  File "a.py", line 1\nMemoryError\nretrying\n'
        'Traceback (most recent call last):\n  File "b.py", line 2\n'
        "ModuleNotFoundError: No module named 'x'\n"
    )
    assert classify_exception(exception_in_log(log))[0] == "missing-dependency"
