// How what is built on Asio reaches the io_context that drives the current
// loop. Not for programs: those use use_braid.h.

#ifndef BRAID_BACKEND_ASIO_ASIO_CONTEXT_H_
#define BRAID_BACKEND_ASIO_ASIO_CONTEXT_H_

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace braid::detail {

class AsioContext {
 public:
  // The io_context that the loop waits in: made now, if it is the backend's own
  // and nobody has asked before.
  virtual boost::asio::io_context& io_context() = 0;
  // Called from a handler that makes tasks ready: the loop gets a turn.
  virtual void Kick() = 0;

 protected:
  ~AsioContext() = default;
};

// That of the loop on this thread. It is a failed check if another backend
// drives it.
AsioContext& CurrentAsioContext();

}  // namespace braid::detail

#endif  // BRAID_BACKEND_ASIO_ASIO_CONTEXT_H_
