#include "braid/service/library_log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <mutex>
#include <string_view>
#include <utility>

namespace braid::service {

struct LibraryLogHooks {
  // Never destroyed: gRPC's threads outlive main.
  static LibraryLogHooks& Get() {
    static auto* const hooks = new LibraryLogHooks;
    return *hooks;
  }

  LibraryLogHooks() {
    google::protobuf::SetLogHandler(&OnProtobuf);
    gpr_set_log_function(&OnGrpc);
  }

  void Write(LogLevel level, std::string_view library, std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    const std::lock_guard lock(mutex);
    if (current != nullptr)
      current->log_.Log(level, {{"library", library}}, "{}", text);
  }

  static void OnProtobuf(google::protobuf::LogLevel level, const char* /*file*/,
                         int /*line*/, const std::string& message) {
    // After a fatal one protobuf throws.
    Get().Write(level == google::protobuf::LOGLEVEL_INFO ? LogLevel::kInfo
                : level == google::protobuf::LOGLEVEL_FATAL
                    ? LogLevel::kError
                    : LogLevel::kWarning,
                "protobuf", message);
  }

  static void OnGrpc(gpr_log_func_args* args) {
    const LogLevel level =
        args->severity == GPR_LOG_SEVERITY_DEBUG  ? LogLevel::kDebug
        : args->severity == GPR_LOG_SEVERITY_INFO ? LogLevel::kInfo
                                                  : LogLevel::kWarning;
    Get().Write(level, "grpc", args->message);
  }

  LibraryLog* Exchange(LibraryLog* log) {
    const std::lock_guard lock(mutex);
    return std::exchange(current, log);
  }

  std::mutex mutex;
  LibraryLog* current = nullptr;
};

LibraryLog::LibraryLog(const Logger& log)
    : log_(log), before_(LibraryLogHooks::Get().Exchange(this)) {}

LibraryLog::~LibraryLog() { LibraryLogHooks::Get().Exchange(before_); }

}  // namespace braid::service
