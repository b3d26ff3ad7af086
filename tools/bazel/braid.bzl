"""cc_library and cc_test as the packages under sdk/ use them."""

def braid_cc_library(name, hdrs = [], srcs = [], **kwargs):
    """A cc_library whose header sdk/core/task.h is "braid/core/task.h".

    Nobody outside the package sees it unless `visibility` says so.

    Args:
      name: the target's name.
      hdrs: all headers, also those that only the library itself includes.
      srcs: sources; no headers, whose include path would be another one.
      **kwargs: what else cc_library takes.
    """
    if native.package_name() != "sdk" and not native.package_name().startswith("sdk/"):
        fail("braid_cc_library is for packages under sdk/: use cc_library here.")
    for src in srcs:
        if src.endswith(".h"):
            fail("%s: list the header %s in hdrs, or in a library of its own that nobody sees." % (name, src))
    native.cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        include_prefix = "braid",
        strip_include_prefix = "/sdk",
        **kwargs
    )

def braid_cc_test(name, srcs = None, deps = [], size = "small", **kwargs):
    """A cc_test with GoogleTest and its main().

    Args:
      name: the target's name; `srcs` is the file of that name unless given.
      srcs: sources.
      deps: libraries; GoogleTest is added.
      size: at most one minute unless said otherwise.
      **kwargs: what else cc_test takes.
    """
    native.cc_test(
        name = name,
        size = size,
        srcs = srcs or [name + ".cc"],
        deps = deps + ["@system_gtest//:main"],
        **kwargs
    )
