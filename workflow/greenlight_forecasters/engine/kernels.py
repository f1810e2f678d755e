"""On a CPU: all C++ kernels of a graph as one source file, compiled in a third of the processor time.

Inductor compiles each kernel of a graph as a file of its own. Most of the work on it is not the kernel: it is reading
ATen's vector headers, or, to avoid that, building a precompiled header of 150 MB, and instantiating the same templates
again. Here the kernels that a generated module asks for are collected and compiled together when it first waits for
one; few enough files are left that no precompiled header pays.

Inductor has no setting for this, so `AsyncCompile.cpp_pybinding` is replaced. A kernel that does not look as expected
is left to Inductor, and so are all where the common file does not compile. The generated module and the keys of the
FX graph cache stay as they are; the key of the shared library is that of the common source. A process that does not
call `compile_together` compiles the kernels of a cached graph once more, one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

# Beyond this much source a file is split, so that compilers run side by side where there are cores for it.
_BYTES_PER_FILE = 500_000
_ENTRY = re.compile(r'extern "C"\s+(?:C10_EXPORT\s+|__declspec\(dllexport\)\s+)?void\s+kernel\s*\(')
# What a kernel's source may hold beside its function, at the beginning of a line.
_DIRECTIVES = re.compile(r"^\s*#(?!include\s+<torch/csrc/inductor/cpp_prefix\.h>|pragma\s)", re.MULTILINE)
_ADDRESS = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"

_HEAD = """
#include <torch/csrc/inductor/cpp_prefix.h>
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <cstdlib>
#include <stdexcept>
#include <type_traits>
"""

_READING = """
static void* (*address_of)(PyObject*);

template <typename T> static inline T read(PyObject* value) {
    if constexpr (std::is_pointer_v<T>) {
        return static_cast<T>(address_of(value));
    } else if constexpr (std::is_floating_point_v<T>) {
        const double number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) throw std::runtime_error("expected a number");
        return static_cast<T>(number);
    } else {
        const Py_ssize_t number = PyLong_AsSsize_t(value);
        if (number == -1 && PyErr_Occurred()) throw std::runtime_error("expected an integer");
        return static_cast<T>(number);
    }
}
"""

_CALL = """
static PyObject* call_{number}(PyObject*, PyObject* const* values, Py_ssize_t count) {{
    try {{
        if (count != {count}) throw std::runtime_error("a kernel of {count} arguments got another number of them");
        kernel_{number}::kernel({arguments});
        Py_RETURN_NONE;
    }} catch (const std::exception& error) {{
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }} catch (...) {{
        PyErr_SetString(PyExc_RuntimeError, "an unknown error in a kernel");
    }}
    return nullptr;
}}
"""

_MODULE = """
static PyMethodDef methods[] = {{
{methods}
    {{nullptr, nullptr, 0, nullptr}}}};

static PyModuleDef module = {{PyModuleDef_HEAD_INIT, "kernel", nullptr, -1, methods}};

PyMODINIT_FUNC PyInit_kernel(void) {{
    const char* address = std::getenv("{address}");
    if (!address) {{
        PyErr_SetString(PyExc_RuntimeError, "{address} is not set");
        return nullptr;
    }}
    address_of = reinterpret_cast<decltype(address_of)>(std::strtoull(address, nullptr, 10));
    return PyModule_Create(&module);
}}
"""

Kernel = tuple[tuple[str, ...], str]  # C++ types of the arguments, and the source as Inductor gives it


def is_simple(source: str) -> bool:
    """Whether a kernel's source is what Inductor mostly makes: one function, and no header but the common one."""
    return len(_ENTRY.findall(source)) == 1 and not _DIRECTIVES.search(source)


def common_source(kernels: Sequence[Kernel]) -> str:
    """The source of a Python module with the functions kernel_0, kernel_1, … of simple kernels."""
    bodies, calls, methods = [], [], []
    for number, (types, source) in enumerate(kernels):
        body = _ENTRY.sub("static void kernel(", re.sub(r"^\s*#include.*$", "", source, flags=re.MULTILINE))
        bodies.append(f"namespace kernel_{number} {{\n{body}\n}}\n")
        values = (f"read<{name.replace('const ', '')}>(values[{place}])" for place, name in enumerate(types))
        calls.append(_CALL.format(number=number, count=len(types), arguments=", ".join(values)))
        method = f"reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_{number}))"
        methods.append(f'    {{"kernel_{number}", {method}, METH_FASTCALL, ""}},')
    module = _MODULE.format(methods="\n".join(methods), address=_ADDRESS)
    return "".join((_HEAD, *bodies, _READING, *calls, module))


def compile_together() -> bool:
    """Have the C++ kernels of each graph compiled together from here on in this process; again changes nothing.

    Call it before anything is compiled, and in every process that uses the same cache. Returns False where this
    torch has no such place, and nothing is changed.
    """
    try:
        from torch._inductor.async_compile import AsyncCompile, get_compile_threads
        from torch._inductor.codecache import CodeCacheFuture, CppPythonBindingsCodeCache

        if getattr(AsyncCompile.cpp_pybinding, "together", False):
            return True
        alone, wait, load = AsyncCompile.cpp_pybinding, AsyncCompile.wait, CppPythonBindingsCodeCache.load_async
    except (ImportError, AttributeError):
        return False

    class Pending(CodeCacheFuture):
        """A kernel that the generated module will wait for."""

        def __init__(self, batch: _Batch, place: int) -> None:
            self.batch, self.place = batch, place

        def result(self, timeout: float | None = None) -> Callable[..., Any]:
            return self.batch.function(self.place)

    def cpp_pybinding(self: Any, argtypes: list[str], source_code: str) -> Any:
        if not is_simple(source_code):
            return alone(self, argtypes, source_code)
        batch = vars(self).setdefault("together", _Batch(load, lambda *kernel: _resolved(alone(self, *kernel))))
        return Pending(batch, batch.add((tuple(argtypes), source_code)))

    def wait_for_all(self: Any, scope: dict[str, Any]) -> None:
        if get_compile_threads() <= 1:  # Inductor then expects no futures
            for name, value in list(scope.items()):
                if isinstance(value, Pending):
                    scope[name] = value.result()
        wait(self, scope)

    cpp_pybinding.together = True
    AsyncCompile.cpp_pybinding, AsyncCompile.wait = cpp_pybinding, wait_for_all
    return True


def known_instruction_sets() -> dict[str, bool]:
    """Settings of Inductor by which it uses the instruction sets that torch itself runs with, untested.

    A compiler of C++20, which this torch asks for, knows them; so does torch's own library, if it runs with them.
    """
    import torch  # here, because planning uses the modes, and torch would double the time of a run with nothing to do

    trusted = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") and trust_instruction_sets()
    return {"cpp.vec_isa_ok": True} if trusted else {}


def trust_instruction_sets() -> bool:
    """Have Inductor take the processor's instruction sets as usable by the compiler, where `cpp.vec_isa_ok` says so.

    With that setting Inductor still compiles and loads test programs for parts of AVX-512, although any compiler of
    C++20 has them. AMX is newer than that, and is tested. Returns False where this torch has no such place.
    """
    try:
        from torch._inductor import config
        from torch._inductor.cpu_vec_isa import VecISA

        tested = VecISA.check_build
    except (ImportError, AttributeError):
        return False
    if getattr(tested, "trusting", False):
        return True

    def check_build(self: Any, code: str) -> bool:
        trusted = config.cpp.vec_isa_ok and "amx" not in code
        return True if trusted else tested(self, code)

    check_build.trusting = True
    VecISA.check_build = check_build
    return True


class _Batch:
    """The kernels of one generated module.

    Args:
        load: compiles a source with Inductor's flags and gives a callable that loads it, or finds it in the cache.
        alone: compiles one kernel as Inductor does.
    """

    def __init__(self, load: Callable[..., Any], alone: Callable[[list[str], str], Callable[..., Any]]) -> None:
        self._load, self._alone = load, alone
        self._kernels: list[Kernel] = []
        self._functions: list[Callable[..., Any]] = []

    def add(self, kernel: Kernel) -> int:
        """The place of a kernel; the same one has one place."""
        if kernel not in self._kernels:
            self._kernels.append(kernel)
        return self._kernels.index(kernel)

    def function(self, place: int) -> Callable[..., Any]:
        """The compiled kernel; the first call compiles all that were added since the last."""
        if place >= len(self._functions):
            self._functions += self._compiled(self._kernels[len(self._functions) :])
        return self._functions[place]

    def _compiled(self, kernels: list[Kernel]) -> list[Callable[..., Any]]:
        from torch._inductor.async_compile import AsyncCompile, get_compile_threads
        from torch._inductor.exc import CppCompileError

        submit = AsyncCompile.submit if get_compile_threads() > 1 else None
        files = _files(kernels)
        try:
            loads = [self._load(common_source(file), "cpu", submit_fn=submit) for file in files]
            modules = [load() for load in loads]
        except CppCompileError:
            return [self._alone(list(types), source) for types, source in kernels]
        return [
            getattr(module, f"kernel_{number}")
            for module, file in zip(modules, files, strict=True)
            for number in range(len(file))
        ]


def _files(kernels: Sequence[Kernel]) -> list[list[Kernel]]:
    """Kernels in order, in as many files as their size asks for."""
    files: list[list[Kernel]] = [[]]
    size = 0
    for kernel in kernels:
        size += len(kernel[1])
        if files[-1] and size > _BYTES_PER_FILE:
            files.append([])
            size = len(kernel[1])
        files[-1].append(kernel)
    return files


def _resolved(kernel: Any) -> Callable[..., Any]:
    return kernel.result() if hasattr(kernel, "result") else kernel
