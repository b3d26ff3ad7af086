// LibraryLog: what protobuf and gRPC have to say, as lines of a service's log.
//
// Both libraries write to standard error by themselves, on whatever thread they
// are on, and clients can make them do it: a string that isn't UTF-8 in a
// request is enough. Nobody counts those lines, nobody can read them as what
// the rest of the log is; and a write to a pipe that is full stops the loop,
// one to a pipe whose reader has gone ends the process. With this they take the
// logger's way, which never waits.
//
// Their hooks are global, so this is for a program's main; the one made last is
// in force until it goes. Not for simulations.
//
// Threads: made and destroyed on any; the libraries call from any.

#ifndef BRAID_SERVICE_LIBRARY_LOG_H_
#define BRAID_SERVICE_LIBRARY_LOG_H_

#include "braid/service/log.h"

namespace braid::service {

class LibraryLog {
 public:
  // Lines have the field `library`. What is an error to a library is a warning
  // here: whether the service has failed is for the service to say.
  explicit LibraryLog(const Logger& log);
  LibraryLog(const LibraryLog&) = delete;
  LibraryLog& operator=(const LibraryLog&) = delete;
  // The one before is in force again; without one, what the libraries say is
  // lost.
  ~LibraryLog();

 private:
  const Logger log_;
  LibraryLog* const before_;

  friend struct LibraryLogHooks;
};

}  // namespace braid::service

#endif  // BRAID_SERVICE_LIBRARY_LOG_H_
