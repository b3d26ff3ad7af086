"""A macro that makes an installed C++ compiler a toolchain."""

load("@bazel_tools//tools/cpp:unix_cc_toolchain_config.bzl", "cc_toolchain_config")

# What Bazel wants so that outputs don't depend on the day.
_REPRODUCIBLE = [
    "-Wno-builtin-macro-redefined",
    "-D__DATE__=\"redacted\"",
    "-D__TIMESTAMP__=\"redacted\"",
    "-D__TIME__=\"redacted\"",
]

def installed_compiler(
        name,
        path,
        include_directories,
        compile_flags,
        dbg_flags,
        opt_flags,
        coverage_flags,
        link_flags = [],
        opt_link_flags = [],
        start_end_lib = False):
    """Declares the toolchain `name` for the compiler driver at `path`.

    Args:
      name: the toolchain's name.
      path: the C compiler driver; it must take C++ too.
      include_directories: the directory of the compiler's own headers.
      compile_flags: flags of every compilation, the defaults of the others.
      dbg_flags: flags added with -c dbg.
      opt_flags: flags added with -c opt.
      coverage_flags: flags added with `bazel coverage`, the first also to link.
      link_flags: flags of every link.
      opt_link_flags: flags added to a link with -c opt.
      start_end_lib: whether the linker knows --start-lib and --end-lib.
    """
    cc_toolchain_config(
        name = name + "_config",
        abi_libc_version = "glibc",
        abi_version = name,
        compile_flags = ["-fno-omit-frame-pointer"] + compile_flags,
        compiler = name,
        coverage_compile_flags = coverage_flags,
        coverage_link_flags = coverage_flags[:1],
        cpu = "k8",
        cxx_builtin_include_directories = include_directories + [
            "/usr/local/include",
            "/usr/include",
            # Where newer Debians keep the kernel's headers.
            "/usr/lib/linux",
        ],
        cxx_flags = ["-std=c++20"],
        dbg_compile_flags = dbg_flags,
        host_system_name = "local",
        link_flags = link_flags + ["-Wl,-z,relro,-z,now"],
        link_libs = [
            "-pthread",
            "-lstdc++",
            "-lm",
        ],
        opt_compile_flags = opt_flags,
        opt_link_flags = ["-Wl,--gc-sections"] + opt_link_flags,
        supports_start_end_lib = start_end_lib,
        target_libc = "glibc",
        target_system_name = "local",
        tool_paths = {
            tool: path if tool in ["cpp", "gcc"] else "/usr/bin/" + tool
            for tool in [
                "ar",
                "cpp",
                "dwp",
                "gcc",
                "gcov",
                "llvm-cov",
                "ld",
                "nm",
                "objcopy",
                "objdump",
                "strip",
            ]
        },
        toolchain_identifier = name,
        unfiltered_compile_flags = _REPRODUCIBLE,
    )
    files = name + "_files"
    native.filegroup(name = files)
    native.cc_toolchain(
        name = name + "_cc",
        all_files = files,
        ar_files = files,
        as_files = files,
        compiler_files = files,
        dwp_files = files,
        linker_files = files,
        objcopy_files = files,
        strip_files = files,
        toolchain_config = name + "_config",
        toolchain_identifier = name,
    )
    native.toolchain(
        name = name,
        toolchain = name + "_cc",
        toolchain_type = "@bazel_tools//tools/cpp:toolchain_type",
    )
