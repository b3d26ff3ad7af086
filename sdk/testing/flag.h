// What the person who runs a test asks of it.

#ifndef BRAID_TESTING_FLAG_H_
#define BRAID_TESTING_FLAG_H_

#include <optional>
#include <string>
#include <string_view>

namespace braid::detail {

// "17" of --braid_seed=17 on the command line of this test, or else of
// `variable` in its environment.
std::optional<std::string> TestFlag(std::string_view flag,
                                    const char* variable);

}  // namespace braid::detail

#endif  // BRAID_TESTING_FLAG_H_
