#include "braid/testing/explore_seeds.h"

#include <charconv>
#include <memory>
#include <optional>
#include <string_view>

#include "braid/backend/host.h"
#include "braid/core/check.h"

namespace braid::detail {
namespace {

// "17" of --braid_seed=17, or of BRAID_SEED=17.
std::optional<uint64_t> Find(std::string_view flag, const char* variable) {
  std::optional<std::string> text;
  const std::string prefix = "--" + std::string(flag) + "=";
  for (const std::string& argument : testing::internal::GetArgvs()) {
    if (argument.starts_with(prefix)) text = argument.substr(prefix.size());
  }
  if (!text.has_value()) text = MakeRealHost()->Environment(variable);
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
