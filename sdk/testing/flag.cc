#include "braid/testing/flag.h"

#include <gtest/gtest.h>

#include "braid/backend/host.h"

namespace braid::detail {

std::optional<std::string> TestFlag(std::string_view flag,
                                    const char* variable) {
  std::optional<std::string> text;
  const std::string prefix = "--" + std::string(flag) + "=";
  for (const std::string& argument : testing::internal::GetArgvs()) {
    if (argument.starts_with(prefix)) text = argument.substr(prefix.size());
  }
  if (!text.has_value()) text = MakeRealHost()->Environment(variable);
  return text;
}

}  // namespace braid::detail
