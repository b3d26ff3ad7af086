"""Lets Bazel 4 work offline.

Bazel 4 downloads a few repositories for every C++ build or test, although a
C++ project uses next to nothing of them. Here are local ones in their place:
the C++ and Java rules hand through what Bazel has built in, and the coverage
tools are empty (`bazel coverage` reports nothing). Later versions of Bazel
bring or pin their own; they are left alone.
"""

def _stand_in_impl(repository_ctx):
    repository_ctx.file("WORKSPACE", "workspace(name = %r)\n" % repository_ctx.name)
    for path, content in repository_ctx.attr.files.items():
        repository_ctx.file(path, content, executable = False)

_stand_in = repository_rule(
    implementation = _stand_in_impl,
    doc = "A repository whose files are written down where it is declared.",
    attrs = {
        "files": attr.string_dict(
            doc = "Content by path.",
            mandatory = True,
        ),
    },
)

def _native(rules):
    return "".join(["%s = native.%s\n" % (rule, rule) for rule in rules])

_STAND_INS = {
    "remote_coverage_tools": {
        "BUILD.bazel": "\n".join([
            'package(default_visibility = ["//visibility:public"])',
            'filegroup(name = "coverage_report_generator")',
            'filegroup(name = "lcov_merger")',
            "",
        ]),
    },
    "rules_cc": {
        "BUILD.bazel": "",
        "cc/BUILD.bazel": "",
        "cc/defs.bzl": _native([
            "cc_binary",
            "cc_import",
            "cc_library",
            "cc_proto_library",
            "cc_test",
            "cc_toolchain",
            "cc_toolchain_suite",
            "objc_library",
        ]),
    },
    "rules_java": {
        "BUILD.bazel": "",
        "java/BUILD.bazel": "",
        "java/defs.bzl": _native([
            "java_binary",
            "java_import",
            "java_library",
            "java_package_configuration",
            "java_plugin",
            "java_runtime",
            "java_test",
            "java_toolchain",
        ]),
    },
}

def declare_stand_ins():
    """Declares the stand-ins that Bazel 4 needs, unless they exist."""

    # Debian's Bazel doesn't know its version; this came with Bazel 5.
    if hasattr(native, "subpackages"):
        return
    for name, files in _STAND_INS.items():
        if not native.existing_rule(name):
            _stand_in(name = name, files = files)
