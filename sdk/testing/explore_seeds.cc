#include "braid/testing/explore_seeds.h"

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "braid/core/check.h"
#include "braid/testing/flag.h"

namespace braid::detail {
namespace {

std::optional<uint64_t> Find(std::string_view flag, const char* variable) {
  const std::optional<std::string> text = TestFlag(flag, variable);
  if (!text.has_value()) return std::nullopt;
  uint64_t number = 0;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, number);
  Check(error == std::errc() && stop == end,
        "--braid_seed and --braid_seeds, or BRAID_SEED and BRAID_SEEDS, are "
        "whole numbers");
  return number;
}

}  // namespace

SeedRange SeedsToRun(uint64_t count) {
  if (const auto seed = Find("braid_seed", "BRAID_SEED"); seed.has_value())
    return {*seed, *seed};
  return {1, Find("braid_seeds", "BRAID_SEEDS").value_or(count)};
}

}  // namespace braid::detail
