#include "braid/backend/worker_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace braid::detail {
namespace {

using std::chrono_literals::operator""ms;

class Job final : public HostJob {
 public:
  explicit Job(std::function<void()> run, bool wanted = true,
               std::string name = "job")
      : HostJob(std::move(name)), run_(std::move(run)), wanted_(wanted) {}
  bool Begin() noexcept override { return wanted_; }
  void Run() noexcept override { run_(); }

 private:
  const std::function<void()> run_;
  const bool wanted_;
};

// Runs `function` in the pool, and gives what it returns.
template <typename F>
auto RunIn(WorkerPool& pool, F function) {
  std::promise<std::invoke_result_t<F&>> result;
  const absl::Status status =
      pool.Start(std::make_shared<Job>([&] { result.set_value(function()); }));
  EXPECT_TRUE(status.ok()) << status;
  return result.get_future().get();
}

TEST(WorkerPoolTest, JobsRunAtTheSameTime) {
  WorkerPool pool;
  std::promise<void> both_run;
  const std::shared_future<void> may_end(both_run.get_future());
  std::atomic<int> running = 0;
  std::atomic<int> ended = 0;
  std::promise<void> all_ended;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(pool.Start(std::make_shared<Job>([&] {
                      if (++running == 3) both_run.set_value();
                      may_end.wait();
                      if (++ended == 3) all_ended.set_value();
                    }))
                    .ok());
  }
  all_ended.get_future().wait();
  EXPECT_EQ(pool.threads(), 3u);
}

TEST(WorkerPoolTest, AnIdleThreadIsUsedAgain) {
  WorkerPool pool;
  std::set<std::thread::id> threads;
  // A thread that has said what it is may not be idle yet.
  for (int i = 0; i < 200; ++i)
    threads.insert(RunIn(pool, [] { return std::this_thread::get_id(); }));
  EXPECT_LT(threads.size(), 10u);
}

// Whoever waits for that in vain is ended by the test's time limit.
TEST(WorkerPoolTest, AnIdleThreadEnds) {
  WorkerPool pool(1ms);
  RunIn(pool, [] { return 0; });
  while (pool.threads() > 0) std::this_thread::yield();
  // Another is made when it is needed.
  EXPECT_EQ(RunIn(pool, [] { return 7; }), 7);
}

TEST(WorkerPoolTest, AJobThatIsNotWantedAnyMoreIsLetGo) {
  WorkerPool pool;
  std::promise<void> gone;
  auto owner = std::shared_ptr<void>(nullptr, [&](void*) { gone.set_value(); });
  EXPECT_TRUE(pool.Start(std::make_shared<Job>(
                             [owner = std::move(owner)] { ADD_FAILURE(); },
                             /*wanted=*/false))
                  .ok());
  gone.get_future().wait();
}

TEST(WorkerPoolTest, ThreadsBlockAllSignalsAndBearTheJobsName) {
  WorkerPool pool;
  std::promise<std::string> name;
  EXPECT_TRUE(pool.Start(std::make_shared<Job>(
                             [&] {
                               char buffer[16] = {};
                               ::pthread_getname_np(::pthread_self(), buffer,
                                                    sizeof buffer);
                               name.set_value(buffer);
                             },
                             true, "a name that is too long"))
                  .ok());
  EXPECT_EQ(name.get_future().get(), "a name that is ");
  const bool blocked = RunIn(pool, [] {
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    bool all = true;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGRTMIN})
      all = all && ::sigismember(&mask, signal) == 1;
    return all;
  });
  EXPECT_TRUE(blocked);
  // The one that made it is as it was.
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_EQ(::sigismember(&mask, SIGTERM), 0);
}

// Threads are made with stacks that no memory is large enough for, as where a
// limit of the system is reached.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_attr_init(&huge);
    EXPECT_EQ(::pthread_attr_setstacksize(&huge, size_t{1} << 60), 0);
    EXPECT_EQ(::pthread_setattr_default_np(&huge), 0);
    ::pthread_attr_destroy(&huge);
  }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;
  ~NoMoreThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

// The threads that are there may be busy for ever: with shards, which run as
// long as the program, or with a function that hangs. A job that waited for
// one of them would never begin, and nobody would be told.
TEST(WorkerPoolTest, WithoutAThreadAJobIsRefused) {
  std::promise<void> may_end;
  std::promise<void> ended;
  {
    WorkerPool pool;
    std::promise<void> began;
    EXPECT_TRUE(pool.Start(std::make_shared<Job>([&] {
                      began.set_value();
                      may_end.get_future().wait();
                      ended.set_value();
                    }))
                    .ok());
    began.get_future().wait();
    {
      const NoMoreThreads limit;
      const absl::Status status =
          pool.Start(std::make_shared<Job>([] { ADD_FAILURE() << "it ran"; }));
      EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    }
    EXPECT_EQ(pool.threads(), 1u);
    EXPECT_EQ(RunIn(pool, [] { return 7; }), 7);
  }
  may_end.set_value();
  ended.get_future().wait();
}

// What runs when the pool goes runs on, and may use what it owns.
TEST(WorkerPoolTest, MayGoWhileAJobRuns) {
  std::promise<void> gone;
  std::shared_future<void> pool_is_gone(gone.get_future());
  std::promise<void> ended;
  {
    WorkerPool pool;
    RunIn(pool, [] { return 0; });
    std::promise<void> began;
    EXPECT_TRUE(
        pool.Start(std::make_shared<Job>([&began, &ended, pool_is_gone] {
              began.set_value();
              pool_is_gone.wait();
              ended.set_value();
            }))
            .ok());
    began.get_future().wait();
  }
  gone.set_value();
  ended.get_future().wait();
}

// A job on a worker may be the one that lets the pool go.
TEST(WorkerPoolTest, MayGoInOneOfItsJobs) {
  std::promise<void> ended;
  auto pool = std::make_shared<WorkerPool>();
  std::promise<void> only_owner;
  EXPECT_TRUE(
      pool->Start(std::make_shared<Job>(
                      [&ended, mine = pool,
                       let_go = std::make_shared<std::future<void>>(
                           only_owner.get_future())]() mutable {
                        let_go->wait();
                        const_cast<std::shared_ptr<WorkerPool>&>(mine).reset();
                        ended.set_value();
                      }))
          .ok());
  pool.reset();
  only_owner.set_value();
  ended.get_future().wait();
}

}  // namespace
}  // namespace braid::detail
