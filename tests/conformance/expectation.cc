#include "tests/conformance/expectation.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <utility>

#include "braid/core/check.h"

namespace braid::conformance {
namespace {

// Takes what stands before `separator` off the front of `text`.
std::string_view TakeUpTo(std::string_view& text, std::string_view separator) {
  const size_t at = text.find(separator);
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size()
                                                  : at + separator.size());
  return taken;
}

}  // namespace

Expectation::Expectation(std::string_view text) {
  int64_t when = 0;
  while (!text.empty()) {
    Group group;
    std::string_view time;
    if (text.front() == '[') {
      text.remove_prefix(1);
      std::string_view members = TakeUpTo(text, "]");
      while (!members.empty()) group.what.emplace_back(TakeUpTo(members, ", "));
      std::sort(group.what.begin(), group.what.end());
      time = TakeUpTo(text, ", ");
    } else {
      time = TakeUpTo(text, ", ");
      const size_t at = std::min(time.find('@'), time.size());
      group.what.emplace_back(time.substr(0, at));
      time.remove_prefix(at);
    }
    if (!time.empty()) {
      const char* end = time.data() + time.size();
      const int64_t before = when;
      const auto [stopped, error] = std::from_chars(time.data() + 1, end, when);
      detail::Check(time.front() == '@' && error == std::errc() &&
                        stopped == end && when >= before,
                    "an expectation is 'a@1, b, [c, d]@3', in order of time");
    }
    group.when = when;
    groups_.push_back(std::move(group));
  }
}

std::optional<std::string> Expectation::Mismatch(
    const std::vector<Observation>& seen, Duration tick, bool exact) const {
  size_t next = 0;
  for (const Group& group : groups_) {
    std::vector<std::string> here;
    for (size_t i = 0; i < group.what.size() && next < seen.size(); ++i) {
      const Observation& one = seen[next++];
      const Duration due = group.when * tick;
      if (exact ? one.when != due : one.when < due) {
        return "'" + one.what + "' came " +
               (one.when < due ? "too early" : "too late");
      }
      here.push_back(one.what);
    }
    std::sort(here.begin(), here.end());
    if (here == group.what) continue;
    for (const std::string& what : group.what) {
      const auto found = std::find(here.begin(), here.end(), what);
      if (found == here.end()) return "'" + what + "' isn't where it should be";
      here.erase(found);
    }
  }
  if (next < seen.size())
    return "'" + seen[next].what + "' is more than was expected";
  return std::nullopt;
}

std::string Format(const std::vector<Observation>& seen, Duration tick) {
  std::string text;
  std::string last = "@0";
  for (const Observation& one : seen) {
    if (!text.empty()) text += ", ";
    text += one.what;
    const int64_t whole = one.when / tick;
    std::string time = "@" + std::to_string(whole);
    if (const int64_t rest = (one.when % tick) * 100 / tick; rest != 0)
      time += (rest < 10 ? ".0" : ".") + std::to_string(rest);
    if (time != last) text += time;
    last = std::move(time);
  }
  return text;
}

}  // namespace braid::conformance
