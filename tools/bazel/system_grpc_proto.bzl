"""The .proto files of gRPC's own services, from Debian's package grpc-proto."""

# Path below /usr/share/grpc-proto, by target.
_FILES = {
    "health_proto": "grpc/health/v1/health.proto",
    "reflection_v1_proto": "grpc/reflection/v1/reflection.proto",
    "reflection_v1alpha_proto": "grpc/reflection/v1alpha/reflection.proto",
}

_BUILD = """# Written by @braid//tools/bazel:system_grpc_proto.bzl.
package(default_visibility = ["//visibility:public"])

exports_files(glob(["grpc/**/*.proto"]))
"""

_PROTO_LIBRARY = """
proto_library(
    name = %r,
    srcs = [%r],
    strip_import_prefix = "",
)
"""

def _system_grpc_proto_impl(repository_ctx):
    build = _BUILD
    for name, path in _FILES.items():
        source = repository_ctx.path("/usr/share/grpc-proto/" + path)
        if not source.exists:
            fail("\n\n%s is missing.\nInstall it with\n\n    apt-get install grpc-proto\n" % source)
        repository_ctx.symlink(source, path)
        build += _PROTO_LIBRARY % (name, path)
    repository_ctx.file("BUILD.bazel", build, executable = False)

system_grpc_proto = repository_rule(
    implementation = _system_grpc_proto_impl,
    doc = "proto_library targets for health checking and reflection.",
    attrs = {
        "debian_packages": attr.string_list(
            doc = "What to install when a file is missing.",
            mandatory = True,
        ),
    },
    configure = True,
    local = True,
)
