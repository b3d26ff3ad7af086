// Process: what a service does with the process it runs in, beyond its backend
// and host: standard output, the log's destination, files, its end.
//
// For: Main, which has a process of its own, and Run, which shares one with
// others, simulated hosts mostly. Not for services.

#ifndef BRAID_SERVICE_DETAIL_PROCESS_H_
#define BRAID_SERVICE_DETAIL_PROCESS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/host.h"
#include "braid/metrics/registry.h"
#include "braid/service/config.h"
#include "braid/service/log.h"
#include "braid/service/sd_notify.h"

namespace braid::service::detail {

// What a service does with the process it runs in.
class Process {
 public:
  Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  virtual ~Process() = default;

  // Where its log goes.
  virtual std::shared_ptr<LogSink> log() = 0;
  // What was asked for (--help); false: it could not be written.
  virtual bool Say(const std::string& text) = 0;
  // What ends it before there is a log.
  virtual void Complain(const std::string& line) = 0;
  // `reload`: the loop runs, and must not wait for whoever writes into a pipe.
  virtual absl::StatusOr<ConfigFile> ReadConfig(const std::string& name,
                                                bool reload) = 0;
  // process_*, where they are this service's.
  virtual absl::Status AddMetrics(metrics::Registry& registry) = 0;
  // To the service manager, if it has one.
  virtual Notifier MakeNotifier(Host& host) = 0;
  // Ends at once. Returns where that is not for the service to do; it is
  // cancelled then.
  virtual void Exit(int code) = 0;
};

// The process is the service.
std::unique_ptr<Process> MakeOwnProcess();

// The service is a task among others, on the current loop. What it has to say
// goes to `sink`; without one, in a simulation to the host's trace, elsewhere
// nowhere.
std::unique_ptr<Process> MakeSharedProcess(std::shared_ptr<LogSink> sink);

}  // namespace braid::service::detail

#endif  // BRAID_SERVICE_DETAIL_PROCESS_H_
