# What the commands in tools/ share; sourced from the repository's root.

# Where downloads, results and compiled objects outlive a checkout.
braid_cache=${XDG_CACHE_HOME:-$HOME/.cache}/braid

# Prints Bazel's flags for a cache of compiled objects that checkouts share. An
# object depends on system headers that Bazel doesn't see: with other packages
# it is another cache. The oldest entries go when there are more than 8 GiB.
braid_cache_flags() {
  local packages root=$braid_cache/bazel
  packages=$(dpkg-query --show '*-dev' clang-19 g++-12 lld-19 2>/dev/null |
    sha256sum | cut -c 1-16)
  mkdir -p "$root/$packages"
  find "$root" -type f -printf '%T@ %s %p\n' | sort -rn |
    awk '{ sum += $2 } sum > 8 * 2 ^ 30 { print $3 }' | xargs -r rm -f
  echo "--disk_cache=$root/$packages"
}
