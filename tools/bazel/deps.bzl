"""Everything outside the repository that Braid needs, as one macro.

Braid's own WORKSPACE and the WORKSPACE of a project that uses Braid call the
same `braid_dependencies()`. A repository that the project has declared before
is left as it is.
"""

load("//tools/bazel:stand_ins.bzl", "declare_stand_ins")
load("//tools/bazel:system_grpc_proto.bzl", "system_grpc_proto")
load("//tools/bazel:system_library.bzl", "system_library")
load("//tools/bazel:system_protobuf_rules.bzl", "system_protobuf_rules")

def _absl_modules():
    return ["absl_" + module for module in [
        "any_invocable",
        "bind_front",
        "bits",
        "btree",
        "cleanup",
        "cord",
        "core_headers",
        "debugging",
        "failure_signal_handler",
        "fixed_array",
        "flat_hash_map",
        "flat_hash_set",
        "function_ref",
        "hash",
        "inlined_vector",
        "int128",
        "memory",
        "node_hash_map",
        "node_hash_set",
        "optional",
        "span",
        "stacktrace",
        "status",
        "statusor",
        "str_format",
        "strings",
        "symbolize",
        "synchronization",
        "time",
        "type_traits",
        "utility",
        "variant",
    ]]

# One row per library: the arguments of system_library, with its name as key.
# All come from Debian; a project that has its own says so by declaring a
# repository of the same name with the same targets first.
_SYSTEM_LIBRARIES = {
    "system_absl": dict(
        debian_packages = ["libabsl-dev"],
        pkg_config = {"system_absl": _absl_modules()},
    ),
    "system_asio": dict(
        # Boost.Asio and, with the same version, Boost.Beast.
        debian_packages = ["libboost1.81-dev"],
        header_versions = {"boost/version.hpp": "BOOST_VERSION 108100"},
        headers = {"system_asio": ["boost/asio.hpp", "boost/beast.hpp"]},
        linkopts = {"system_asio": ["-pthread"]},
    ),
    "system_grpc": dict(
        debian_packages = ["libgrpc++-dev"],
        headers = {"reflection": ["grpcpp/ext/proto_server_reflection_plugin.h"]},
        libraries = {"reflection": ["grpc++_reflection"]},
        pkg_config = {"system_grpc": ["grpc++"]},
        deps = {
            "reflection": [":system_grpc"],
            # grpc++.pc names neither protobuf nor all of the Abseil that its
            # inline functions call.
            "system_grpc": [
                "@system_absl",
                "@system_protobuf",
            ],
        },
    ),
    "system_gtest": dict(
        debian_packages = [
            "libgmock-dev",
            "libgtest-dev",
        ],
        pkg_config = {
            "main": ["gmock_main"],
            "system_gtest": ["gmock"],
        },
    ),
    "system_openssl": dict(
        debian_packages = ["libssl-dev"],
        pkg_config = {"system_openssl": ["openssl"]},
    ),
    "system_prometheus": dict(
        debian_packages = ["prometheus-cpp-dev"],
        pkg_config = {"system_prometheus": ["prometheus-cpp-core"]},
    ),
    "system_protobuf": dict(
        debian_packages = ["libprotobuf-dev"],
        pkg_config = {"system_protobuf": ["protobuf"]},
    ),
    "system_protoc": dict(
        # The compiler, its gRPC plugin, and what a plugin of one's own links.
        debian_packages = [
            "libprotoc-dev",
            "protobuf-compiler",
            "protobuf-compiler-grpc",
        ],
        headers = {"system_protoc": ["google/protobuf/compiler/plugin.h"]},
        libraries = {"system_protoc": ["protoc"]},
        programs = [
            "grpc_cpp_plugin",
            "protoc",
        ],
        deps = {"system_protoc": ["@system_protobuf"]},
    ),
    "system_spdlog": dict(
        debian_packages = ["libspdlog-dev"],
        pkg_config = {"system_spdlog": ["spdlog"]},
    ),
    "system_uring": dict(
        debian_packages = ["liburing-dev"],
        pkg_config = {"system_uring": ["liburing"]},
    ),
    "system_uv": dict(
        # A peer of the benchmarks.
        debian_packages = ["libuv1-dev"],
        pkg_config = {"system_uv": ["libuv"]},
    ),
}

def braid_dependencies():
    """Declares the repositories Braid needs. Each is fetched when first used."""
    declare_stand_ins()
    for name, arguments in _SYSTEM_LIBRARIES.items():
        if not native.existing_rule(name):
            system_library(name = name, **arguments)
    if not native.existing_rule("system_grpc_proto"):
        system_grpc_proto(
            name = "system_grpc_proto",
            debian_packages = ["grpc-proto"],
        )
    if not native.existing_rule("com_google_protobuf"):
        system_protobuf_rules(name = "com_google_protobuf")
