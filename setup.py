"""Builds the extension fastloss._core; all that can be declared stands in pyproject.toml.

The kernels are one C source, compiled for each instruction set, with flags of its own, and compute type.
Setuptools knows no flags per file, so `BuildCore` compiles the objects itself, each only when something it is
made from has changed, and leaves the linking to setuptools.

Read from the environment:
    FASTLOSS_OPENMP=1    a compiler without OpenMP is an error (by default: a warning and a serial build)
    FASTLOSS_OPENMP=0    build serial on purpose
    FASTLOSS_SANITIZE=1  build with the address and undefined-behaviour sanitizers (gcc and clang)
    CC, CFLAGS, CPPFLAGS, LDFLAGS, ARCHFLAGS   as usual
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import split as words

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, PlatformError
from setuptools.modified import newer_group

MACOS = sys.platform == "darwin"
if MACOS:  # a universal Python would compile each file for two machines at once, with the flags of one
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
MACHINE = os.environ["ARCHFLAGS"] if MACOS else sysconfig.get_platform()
X86_64 = MACHINE.endswith(("x86_64", "amd64"))

# No errno and no traps lets the compiler vectorise selects; no contraction keeps a*b+c the same on every
# instruction set. Nothing here lets it assume that there is no NaN and no infinity.
COMMON = {
    "unix": words(
        "-std=c11 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -fopenmp-simd -fvisibility=hidden"
        " -g1 -Werror=implicit-function-declaration"
    ),
    "msvc": words("/O2 /std:c11"),
}
# What each instruction set adds, slowest to compile first; dispatch.c asks the machine for all of it.
# -march pins the floor whatever CFLAGS says. base is x86-64-v2, in words that older compilers know too.
X86_64_ISAS = {
    "unix": {
        "avx512": words(
            "-march=x86-64 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512"
        ),
        "avx2": words("-march=x86-64 -mavx2 -mfma -mf16c"),
        "base": words("-march=x86-64 -msse4.2 -mpopcnt"),
    },
    "msvc": {"avx512": ["/arch:AVX512"], "avx2": ["/arch:AVX2"], "base": []},
}
# Of gcc: steps of one chain among those of another, as far as there are registers. Rows of many classes gain 3 to 5 %;
# 16 registers are too few for it.
SCHEDULE = words("-fschedule-insns -fsched-pressure")
SANITIZE = words("-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1")

PROBE = "int main(void) { return 0; }"
OPENMP_PROBE = """
#include <omp.h>
int main(void) {
    int n = 0;
    #pragma omp parallel reduction(+ : n)
    n += omp_get_num_threads();
    return n == 0;
}
"""


def openmp_spellings(family: str) -> list[tuple[list[str], list[str]]]:
    """The (compile, link) flags that may switch OpenMP on, likeliest first."""
    if family == "msvc":
        return [(["/openmp"], [])]
    spellings = [(["-fopenmp"], ["-fopenmp"])]
    if MACOS:  # Apple's clang comes without a runtime: take Homebrew's, or what CPPFLAGS and LDFLAGS point to
        include, lib = [], []
        if brew := shutil.which("brew"):
            prefix = subprocess.run([brew, "--prefix", "libomp"], capture_output=True, text=True).stdout.strip()
            include, lib = [f"-I{prefix}/include"], [f"-L{prefix}/lib"]
        spellings.insert(0, (["-Xpreprocessor", "-fopenmp", *include], [*lib, "-lomp"]))
    return spellings


class BuildCore(build_ext):
    """Compiles every object of the extension with its own flags, then links as usual."""

    def finalize_options(self) -> None:
        """Keep the objects of an editable build, for which pip names a new folder each time."""
        super().finalize_options()
        if self.editable_mode:
            self.build_temp = f"build/temp.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"

    def build_extension(self, ext: Extension) -> None:
        """Compile what has changed, a few files at a time, and link."""
        import Cython
        import numpy
        from Cython.Build import cythonize

        family = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        openmp, openmp_link = self.find_openmp(family)
        sanitize = SANITIZE if os.environ.get("FASTLOSS_SANITIZE") == "1" else []

        pyx, *driving = ext.sources
        generated = f"build/cython-{Cython.__version__}-numpy-{numpy.__version__}"
        driving += cythonize(pyx, build_dir=generated, force=self.force)[0].sources
        isas = dict(X86_64_ISAS[family]) if X86_64 else {"base": []}
        if family == "unix" and "avx512" in isas and self.builds(PROBE, ["-Werror", *SCHEDULE], []):
            isas["avx512"] = [*isas["avx512"], *SCHEDULE]
        units = {f"csrc/isa/{isa}_{bits}.c": flags for isa, flags in isas.items() for bits in (64, 32)}
        units |= dict.fromkeys(driving, openmp)
        units = {source: [*COMMON[family], *flags, *sanitize] for source, flags in units.items()}

        ext.include_dirs = ["csrc", numpy.get_include()]
        ext.define_macros = [
            ("FASTLOSS_VERSION", f'"{self.distribution.get_version()}"'),
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
        ]
        if sys.platform == "win32" and sysconfig.get_config_var("Py_GIL_DISABLED"):
            ext.define_macros.append(("Py_GIL_DISABLED", "1"))
        ext.libraries = [] if family == "msvc" else ["m"]
        ext.extra_link_args = [*openmp_link, *sanitize]

        stamp = self.remember_flags(ext, units)
        with ThreadPoolExecutor(1 if family == "msvc" else os.cpu_count()) as pool:
            objects = pool.map(lambda source: self.compile_unit(ext, source, units[source], stamp), units)
            ext.extra_objects = list(objects)
        ext.sources, ext.depends = [], [*ext.extra_objects, stamp]
        super().build_extension(ext)

    def compile_unit(self, ext: Extension, source: str, flags: list[str], stamp: str) -> str:
        """The object of one source, compiled if the source, a header or the flags are newer."""
        [target] = self.compiler.object_filenames([source], output_dir=self.build_temp)
        if self.force or newer_group([source, *ext.depends, stamp], target):
            self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                macros=ext.define_macros,
                include_dirs=ext.include_dirs,
                debug=self.debug,
                extra_postargs=flags,
            )
        return target

    def remember_flags(self, ext: Extension, units: dict[str, list[str]]) -> str:
        """A file that is written anew only when the compiler or a flag is another than last time."""
        commands = [getattr(self.compiler, name, None) for name in ("compiler_so", "linker_so")]
        flags = [*commands, units, ext.include_dirs, ext.define_macros, ext.libraries, ext.extra_link_args]
        text = "\n".join(map(str, flags))
        stamp = Path(self.build_temp, "flags.txt")
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != text:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text(text, encoding="utf-8")
        return str(stamp)

    def builds(self, program: str, flags: list[str], link: list[str]) -> bool:
        """Whether a program compiles and links with these flags; it is not run."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program, encoding="utf-8")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=link)
            except (CompileError, LinkError):
                return False
        return True

    def find_openmp(self, family: str) -> tuple[list[str], list[str]]:
        """The first (compile, link) flags with which an OpenMP program builds."""
        wish = os.environ.get("FASTLOSS_OPENMP")
        for flags, link in [] if wish == "0" else openmp_spellings(family):
            if self.builds(OPENMP_PROBE, flags, link):
                return flags, link
        if wish == "1":
            raise PlatformError("FASTLOSS_OPENMP=1, but this compiler compiles and links no OpenMP program")
        why = "FASTLOSS_OPENMP=0" if wish == "0" else "this compiler compiles and links no OpenMP program"
        print(f"fastloss: WARNING: building WITHOUT threads: {why}", file=sys.stderr)
        return [], []


inputs = sorted(path.as_posix() for path in Path("csrc").rglob("*") if path.is_file())
sources = [path for path in inputs if Path(path).match("csrc/*.c")]
core = Extension(
    "fastloss._core",
    sources=["fastloss/_core.pyx", *sources],
    depends=[path for path in inputs if path not in sources],
)
setup(ext_modules=[core], cmdclass={"build_ext": BuildCore})
