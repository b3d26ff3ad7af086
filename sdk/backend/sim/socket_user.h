// Who holds a socket of a simulated kernel. Not for programs.

#ifndef BRAID_BACKEND_SIM_SOCKET_USER_H_
#define BRAID_BACKEND_SIM_SOCKET_USER_H_

#include "braid/backend/backend.h"

namespace braid::detail {

class SocketUser {
 public:
  // What waits in that direction may be possible now.
  virtual void OnReady(IoDirection direction) = 0;

 protected:
  ~SocketUser() = default;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_SOCKET_USER_H_
