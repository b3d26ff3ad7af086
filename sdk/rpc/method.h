// Method: the name and shape of a remote procedure.
//
// Generated code has one constant per method. Everything in it lives as long as
// the program.

#ifndef BRAID_RPC_METHOD_H_
#define BRAID_RPC_METHOD_H_

#include <cstdint>
#include <string_view>

namespace braid::rpc {

enum class MethodKind : uint8_t {
  kUnary,
  kClientStreaming,
  kServerStreaming,
  kBidiStreaming,
};

// Whether the client sends a stream of messages, not exactly one.
constexpr bool ClientStreams(MethodKind kind) {
  return kind == MethodKind::kClientStreaming ||
         kind == MethodKind::kBidiStreaming;
}
// Whether the server does.
constexpr bool ServerStreams(MethodKind kind) {
  return kind == MethodKind::kServerStreaming ||
         kind == MethodKind::kBidiStreaming;
}

class Method {
 public:
  // `path` is "/package.Service/Method".
  constexpr Method(std::string_view path, MethodKind kind)
      : path_(path), kind_(kind) {}

  constexpr std::string_view path() const { return path_; }
  // "package.Service"
  constexpr std::string_view service() const {
    return path_.substr(1, path_.rfind('/') - 1);
  }
  // "Method"
  constexpr std::string_view name() const {
    return path_.substr(path_.rfind('/') + 1);
  }
  constexpr MethodKind kind() const { return kind_; }

 private:
  std::string_view path_;
  MethodKind kind_;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_METHOD_H_
