"""What proto_library and cc_proto_library need, from the installed protobuf.

Both look for a compiler, a runtime and the well-known types under the name
@com_google_protobuf.
"""

_WELL_KNOWN = {
    "any": [],
    "api": [
        "source_context",
        "type",
    ],
    "compiler_plugin": ["descriptor"],
    "descriptor": [],
    "duration": [],
    "empty": [],
    "field_mask": [],
    "source_context": [],
    "struct": [],
    "timestamp": [],
    "type": [
        "any",
        "source_context",
    ],
    "wrappers": [],
}

_BUILD = """# Written by @braid//tools/bazel:system_protobuf_rules.bzl.
package(default_visibility = ["//visibility:public"])

alias(name = "protobuf", actual = "@system_protobuf")
alias(name = "protoc", actual = "@system_protoc//:protoc")
alias(name = "protoc_lib", actual = "@system_protoc")

# Code for the well-known types is in the library.
proto_lang_toolchain(
    name = "cc_toolchain",
    blacklisted_protos = [%s],
    command_line = "--cpp_out=$(OUT)",
    runtime = "@system_protobuf",
)
"""

_PROTO_LIBRARY = """
proto_library(
    name = "{name}_proto",
    srcs = ["{path}"],
    strip_import_prefix = "",
    deps = {deps},
)
"""

def _system_protobuf_rules_impl(repository_ctx):
    build = _BUILD % ", ".join([repr(name + "_proto") for name in _WELL_KNOWN])
    for name, deps in _WELL_KNOWN.items():
        path = "google/protobuf/%s.proto" % name.replace("compiler_", "compiler/")
        source = repository_ctx.path("/usr/include/" + path)
        if not source.exists:
            fail("\n\n@%s needs %s, which isn't installed here.\nInstall it with\n\n    apt-get install libprotobuf-dev\n" % (repository_ctx.name, source))
        repository_ctx.symlink(source, path)
        build += _PROTO_LIBRARY.format(
            name = name,
            deps = [dep + "_proto" for dep in deps],
            path = path,
        )
    repository_ctx.file("BUILD.bazel", build, executable = False)

system_protobuf_rules = repository_rule(
    implementation = _system_protobuf_rules_impl,
    doc = "@com_google_protobuf, standing on the installed protobuf.",
    configure = True,
    local = True,
)
