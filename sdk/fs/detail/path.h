// What every operation on a path looks at first. Not for programs.

#ifndef BRAID_FS_DETAIL_PATH_H_
#define BRAID_FS_DETAIL_PATH_H_

#include <string>
#include <string_view>

namespace braid::detail {

// Why the system can't be asked about `path`; nullptr: it can.
inline const char* MistakeInPath(std::string_view path) {
  if (path.empty()) return "the path is empty";
  if (path.find('\0') != std::string_view::npos)
    return "the path has a zero byte";
  return nullptr;
}

// For messages: a zero byte would cut them.
inline std::string Readable(std::string_view path) {
  std::string text(path);
  for (char& c : text) {
    if (c == '\0') c = '?';
  }
  return text;
}

}  // namespace braid::detail

#endif  // BRAID_FS_DETAIL_PATH_H_
