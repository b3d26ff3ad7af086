// All of the SDK that a program usually needs, in one include. Target
// @braid//sdk. Files have headers and a target of their own, and so has what
// brings other libraries with it: rpc, metrics, service, testing, and Asio's
// completion token.

#ifndef BRAID_BRAID_H_
#define BRAID_BRAID_H_

#include "braid/backend/from_callback.h"  // IWYU pragma: export
#include "braid/backend/run_main.h"       // IWYU pragma: export
#include "braid/core/core.h"              // IWYU pragma: export
#include "braid/net/resolver.h"           // IWYU pragma: export
#include "braid/net/tcp.h"                // IWYU pragma: export
#include "braid/net/udp.h"                // IWYU pragma: export
#include "braid/os/fd_watch.h"            // IWYU pragma: export
#include "braid/os/signals.h"             // IWYU pragma: export
#include "braid/sync/sync.h"              // IWYU pragma: export
#include "braid/thread/mailbox.h"         // IWYU pragma: export
#include "braid/thread/portal.h"          // IWYU pragma: export
#include "braid/thread/sharded.h"         // IWYU pragma: export
#include "braid/thread/to_thread.h"       // IWYU pragma: export

#endif  // BRAID_BRAID_H_
