// Everything of the core in one include: tasks, groups, scopes, combinators,
// time.

#ifndef BRAID_CORE_CORE_H_
#define BRAID_CORE_CORE_H_

#include "braid/core/all_of.h"           // IWYU pragma: export
#include "braid/core/any_of.h"           // IWYU pragma: export
#include "braid/core/cancel_cause.h"     // IWYU pragma: export
#include "braid/core/cancel_scope.h"     // IWYU pragma: export
#include "braid/core/driver.h"           // IWYU pragma: export
#include "braid/core/finally.h"          // IWYU pragma: export
#include "braid/core/first_ok.h"         // IWYU pragma: export
#include "braid/core/group_error.h"      // IWYU pragma: export
#include "braid/core/loop_local.h"       // IWYU pragma: export
#include "braid/core/operation.h"        // IWYU pragma: export
#include "braid/core/or_return.h"        // IWYU pragma: export
#include "braid/core/outcome.h"          // IWYU pragma: export
#include "braid/core/ready.h"            // IWYU pragma: export
#include "braid/core/run.h"              // IWYU pragma: export
#include "braid/core/sleep.h"            // IWYU pragma: export
#include "braid/core/status.h"           // IWYU pragma: export
#include "braid/core/stop_request.h"     // IWYU pragma: export
#include "braid/core/task.h"             // IWYU pragma: export
#include "braid/core/task_group.h"       // IWYU pragma: export
#include "braid/core/task_handle.h"      // IWYU pragma: export
#include "braid/core/task_local.h"       // IWYU pragma: export
#include "braid/core/task_name.h"        // IWYU pragma: export
#include "braid/core/task_tree.h"        // IWYU pragma: export
#include "braid/core/time.h"             // IWYU pragma: export
#include "braid/core/timeout.h"          // IWYU pragma: export
#include "braid/core/with_background.h"  // IWYU pragma: export

#endif  // BRAID_CORE_CORE_H_
