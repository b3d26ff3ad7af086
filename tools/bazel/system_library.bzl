"""A library that the operating system's package manager has installed.

`system_library` makes a repository of cc_library targets that carry the
compile and link flags of an installed library: from pkg-config where the
library has such a file, from names given here where it has none. Headers are
found by the compiler as system headers. Nothing is looked at before a target
of the repository is needed, and what is missing is named together with the
Debian packages that hold it.

It is not for libraries outside the compiler's default directories, and
doesn't look into a library that is there: it trusts the package manager.
"""

_BUILD = """# Written by @braid//tools/bazel:system_library.bzl.
package(default_visibility = ["//visibility:public"])
"""

_CC_LIBRARY = """
cc_library(
    name = {name},
    defines = {defines},
    linkopts = {linkopts},
    deps = {deps},
)
"""

def _missing(repository_ctx, what):
    fail("\n\n@%s needs %s, which isn't installed here.\nInstall it with\n\n    apt-get install %s\n" % (
        repository_ctx.name,
        what,
        " ".join(repository_ctx.attr.debian_packages),
    ))

def _pkg_config(repository_ctx, option, modules):
    """Returns the flags that pkg-config prints for modules."""
    program = repository_ctx.which("pkg-config")
    if not program:
        fail("\n\n@%s needs the program pkg-config.\nInstall it with\n\n    apt-get install pkgconf\n" % repository_ctx.name)
    result = repository_ctx.execute([program, option] + modules)
    if result.return_code == 0:
        return [flag for flag in result.stdout.replace("\n", " ").split(" ") if flag]
    for module in modules:
        if repository_ctx.execute([program, "--exists", module]).return_code != 0:
            _missing(repository_ctx, module)
    fail("pkg-config %s %s: %s" % (option, " ".join(modules), result.stderr))

def _unique(items):
    return {item: None for item in items}.keys()

def _is_library(flag):
    return flag.startswith("-l") and flag != "-latomic"

def _module_flags(repository_ctx, modules):
    """Returns the defines and linker options of pkg-config modules."""
    defines = []
    for flag in _pkg_config(repository_ctx, "--cflags", modules):
        if flag.startswith("-D"):
            # NOMINMAX concerns Windows.h only.
            if flag != "-DNOMINMAX":
                defines.append(flag[2:])
        elif flag != "-pthread":
            fail("@%s: can't use the compiler flag %s of pkg-config %s" % (
                repository_ctx.name,
                flag,
                " ".join(modules),
            ))

    # Shared libraries all, so order and repetition don't matter. Not under
    # --as-needed: when a test links its libraries dynamically, lld would drop
    # what only they call.
    flags = _pkg_config(repository_ctx, "--libs", modules)
    return defines, _unique([flag for flag in flags if _is_library(flag)])

def _find_header(repository_ctx, header):
    for directory in ["/usr/local/include/", "/usr/include/"]:
        path = repository_ctx.path(directory + header)
        if path.exists:
            return path
    _missing(repository_ctx, "the header <%s>" % header)
    return None

def _check_version(repository_ctx, header, minimum):
    name, value = minimum.split(" ")
    for line in repository_ctx.read(_find_header(repository_ctx, header)).split("\n"):
        if line.startswith("#define %s " % name) and int(line.split(" ")[2]) >= int(value):
            return
    _missing(repository_ctx, "a <%s> with %s of at least %s" % (header, name, value))

def _system_library_impl(repository_ctx):
    attr = repository_ctx.attr
    for header, minimum in attr.header_versions.items():
        _check_version(repository_ctx, header, minimum)

    build = _BUILD
    names = _unique(attr.pkg_config.keys() + attr.headers.keys() + attr.libraries.keys())
    for name in names:
        for header in attr.headers.get(name, []):
            _find_header(repository_ctx, header)
        defines, linkopts = [], []
        if name in attr.pkg_config:
            defines, linkopts = _module_flags(repository_ctx, attr.pkg_config[name])
        linkopts = linkopts + ["-l" + library for library in attr.libraries.get(name, [])]
        build += _CC_LIBRARY.format(
            name = repr(name),
            defines = defines,
            deps = attr.deps.get(name, []),
            linkopts = linkopts + attr.linkopts.get(name, []),
        )

    for program in attr.programs:
        path = repository_ctx.which(program)
        if not path:
            _missing(repository_ctx, "the program " + program)
        repository_ctx.symlink(path, "bin/" + program)
        build += "\nfilegroup(\n    name = %r,\n    srcs = [%r],\n)\n" % (program, "bin/" + program)

    repository_ctx.file("BUILD.bazel", build, executable = False)

system_library = repository_rule(
    implementation = _system_library_impl,
    doc = """Targets for an installed library.

Each dictionary but `header_versions` has the name of a target as its key.""",
    attrs = {
        "debian_packages": attr.string_list(
            doc = "What to install when something is missing.",
            mandatory = True,
        ),
        "deps": attr.string_list_dict(doc = "Labels of other targets."),
        "header_versions": attr.string_dict(
            doc = "By header: `NAME MINIMUM`, a number that it must define.",
        ),
        "headers": attr.string_list_dict(doc = "Headers that must exist."),
        "libraries": attr.string_list_dict(
            doc = "Libraries to link that no pkg-config module names.",
        ),
        "linkopts": attr.string_list_dict(doc = "More options for the linker."),
        "pkg_config": attr.string_list_dict(doc = "pkg-config modules."),
        "programs": attr.string_list(
            doc = "Programs on the PATH, each a target of its own.",
        ),
    },
    configure = True,
    environ = ["PKG_CONFIG_PATH"],
    # Looked at again by each new Bazel server: packages get upgraded.
    local = True,
)
