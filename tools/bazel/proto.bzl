"""Typed coroutine services and clients from .proto files.

    load("@braid//tools/bazel:proto.bzl", "braid_cc_grpc_library")

    proto_library(
        name = "echo_control_proto",
        srcs = ["echo_control.proto"],
    )

    braid_cc_grpc_library(
        name = "echo_control_cc_grpc",
        deps = [":echo_control_proto"],
    )

gives #include "path/of/echo_control.braid.h", in which the service EchoControl
is EchoControl::Service to be implemented and EchoControl::Client to be called
with; the path is the one that other .proto files import it by. The messages,
"path/of/echo_control.pb.h", come with it.

What the .proto imports are `deps` of the proto_library: proto_library targets
of any repository, and for google/protobuf/timestamp.proto and its like
"@com_google_protobuf//:timestamp_proto". tests/consumer/weather is an example
from outside.
"""

def _outputs(ctx, import_path):
    base = import_path[:-len(".proto")]
    return [
        ctx.actions.declare_file("%s/%s.braid.%s" % (ctx.attr.directory, base, suffix))
        for suffix in ["h", "cc"]
    ]

def _import_path(proto, source):
    """The name of a source in import statements."""
    root = proto.proto_source_root
    path = source.path
    if root and root != ".":
        for prefix in [root + "/", source.root.path + "/" + root + "/"]:
            if path.startswith(prefix):
                return path[len(prefix):]
    if source.root.path and path.startswith(source.root.path + "/"):
        path = path[len(source.root.path) + 1:]
    if path.startswith("external/"):
        path = path.split("/", 2)[2]
    return path

def _braid_rpc_sources_impl(ctx):
    headers, sources = [], []
    for dep in ctx.attr.deps:
        proto = dep[ProtoInfo]
        imports = [_import_path(proto, source) for source in proto.direct_sources]
        outputs = [
            _outputs(ctx, path)
            for path in imports
        ]
        headers += [pair[0] for pair in outputs]
        sources += [pair[1] for pair in outputs]
        if not outputs:
            continue

        # The directory that the first output's import path starts in.
        root = outputs[0][0].path[:-len(imports[0][:-len(".proto")] + ".braid.h") - 1]

        args = ctx.actions.args()
        args.add(ctx.executable._plugin, format = "--plugin=protoc-gen-braid=%s")
        args.add("--braid_out=" + root)

        # Not from descriptor sets: they have no comments, which belong into
        # the header.
        args.add_all(proto.transitive_proto_path, format_each = "-I%s")
        args.add_all(imports)
        ctx.actions.run(
            executable = ctx.executable._protoc,
            arguments = [args],
            inputs = proto.transitive_sources,
            tools = [ctx.executable._plugin],
            outputs = [file for pair in outputs for file in pair],
            mnemonic = "BraidRpc",
            progress_message = "Generating services of %s" % dep.label,
        )
    return [
        DefaultInfo(files = depset(headers + sources)),
        OutputGroupInfo(headers = depset(headers), sources = depset(sources)),
    ]

_braid_rpc_sources = rule(
    implementation = _braid_rpc_sources_impl,
    attrs = {
        "deps": attr.label_list(
            mandatory = True,
            providers = [ProtoInfo],
        ),
        "directory": attr.string(mandatory = True),
        "_plugin": attr.label(
            default = Label("//sdk/rpc/plugin:protoc-gen-braid"),
            cfg = "exec",
            executable = True,
        ),
        "_protoc": attr.label(
            default = "@com_google_protobuf//:protoc",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
        ),
    },
)

def braid_cc_grpc_library(name, deps, rpc = None, **kwargs):
    """A cc_library with the services and messages of proto_library targets.

    Args:
      name: the target's name.
      deps: one proto_library or several. Those they import have to be
        proto_library targets too; code is written for these alone.
      rpc: the RPC layer to link, for the SDK's own use.
      **kwargs: what else cc_library takes: visibility, testonly, tags.
    """
    directory = name + ".braid"
    passed = {
        key: kwargs[key]
        for key in ["compatible_with", "restricted_to", "tags", "testonly"]
        if key in kwargs
    }
    _braid_rpc_sources(
        name = name + "_code",
        directory = directory,
        deps = deps,
        **passed
    )
    for group in ["headers", "sources"]:
        native.filegroup(
            name = "%s_%s" % (name, group),
            srcs = [":%s_code" % name],
            output_group = group,
            **passed
        )
    native.cc_proto_library(
        name = name + "_pb",
        deps = deps,
        **passed
    )
    native.cc_library(
        name = name,
        srcs = [":%s_sources" % name],
        hdrs = [":%s_headers" % name],
        includes = [directory],
        deps = [
            ":%s_pb" % name,
            rpc or Label("//sdk/rpc"),
        ],
        **kwargs
    )
