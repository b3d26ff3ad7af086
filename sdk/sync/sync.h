// Everything of sdk/sync in one include.

#ifndef BRAID_SYNC_SYNC_H_
#define BRAID_SYNC_SYNC_H_

#include "braid/sync/capacity_limiter.h"  // IWYU pragma: export
#include "braid/sync/channel.h"           // IWYU pragma: export
#include "braid/sync/condition.h"         // IWYU pragma: export
#include "braid/sync/event.h"             // IWYU pragma: export
#include "braid/sync/mutex.h"             // IWYU pragma: export
#include "braid/sync/resource_guard.h"    // IWYU pragma: export
#include "braid/sync/semaphore.h"         // IWYU pragma: export
#include "braid/sync/watch.h"             // IWYU pragma: export

#endif  // BRAID_SYNC_SYNC_H_
