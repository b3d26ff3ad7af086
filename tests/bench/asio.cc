// The subject `asio`: Boost.Asio's C++20 coroutines as its documentation
// recommends them where speed counts: the executor's type spelled out, frames
// and handlers from Asio's own recycling allocator, and no locks where one
// thread is all there is.
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <thread>
#include <vector>

#include "tests/bench/benches.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::ip::udp;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;
template <class T>
using Awaitable = asio::awaitable<T, Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>,
                               Executor>;
using Channel = asio::experimental::basic_channel<
    Executor, asio::experimental::channel_traits<>, void(error_code, int)>;
constexpr asio::use_awaitable_t<Executor> kAwait;

// Asio's coroutines are joined through the completion handler of co_spawn: the
// last one to end cancels a timer that never expires.
class Group {
 public:
  explicit Group(const Executor& executor)
      : executor_(executor), last_ended_(executor, Timer::time_point::max()) {}

  void Start(Awaitable<void> child) {
    ++running_;
    asio::co_spawn(executor_, std::move(child), Ended{this});
  }
  void StartCancellable(Awaitable<void> child,
                        asio::cancellation_signal& signal) {
    ++running_;
    asio::co_spawn(executor_, std::move(child),
                   asio::bind_cancellation_slot(signal.slot(), Ended{this}));
  }
  Awaitable<void> Join() {
    if (running_ == 0) co_return;
    error_code cancelled;
    co_await last_ended_.async_wait(asio::redirect_error(kAwait, cancelled));
  }

 private:
  struct Ended {
    Group* group;
    void operator()(const std::exception_ptr&) const {
      if (--group->running_ == 0) group->last_ended_.cancel();
    }
  };

  Executor executor_;
  Timer last_ended_;
  uint64_t running_ = 0;
};

Awaitable<void> YieldOnce() { co_await asio::post(kAwait); }

Awaitable<void> Child() {
  ++counted;
  co_return;
}

Awaitable<void> SpawnJoin(Run& run) {
  Executor executor = co_await asio::this_coro::executor;
  run.Start();
  for (uint64_t children : Batches(run.ops(), kSpawnBatch)) {
    Group group(executor);
    for (uint64_t i = 0; i < children; ++i) group.Start(Child());
    co_await group.Join();
  }
  run.Stop();
}

[[gnu::noinline]] Awaitable<int> Next(int i) {
  ++counted;
  co_return i + 1;
}

Awaitable<void> CallDepth1(Run& run) {
  int value = 0;
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) value = co_await Next(value);
  run.Stop();
}

[[gnu::noinline]] Awaitable<int> Descend(int depth) {
  if (depth == 1) co_return 1;
  co_return 1 + co_await Descend(depth - 1);
}

Awaitable<void> CallDepth100(Run& run) {
  run.Start();
  for (uint64_t depth : Batches(run.ops(), kDepth))
    counted += co_await Descend(static_cast<int>(depth));
  run.Stop();
}

Awaitable<void> Yielder(uint64_t times) {
  for (uint64_t i = 0; i < times; ++i) {
    co_await asio::post(kAwait);
    ++counted;
  }
}

Awaitable<void> Yield(Run& run) {
  Group group(co_await asio::this_coro::executor);
  run.Start();
  group.Start(Yielder(run.ops() / 2));
  group.Start(Yielder(run.ops() - run.ops() / 2));
  co_await group.Join();
  run.Stop();
}

Awaitable<void> Ping(Channel& there, Channel& back, uint64_t trips) {
  for (uint64_t i = 0; i < trips; ++i) {
    co_await there.async_send(error_code(), static_cast<int>(i), kAwait);
    co_await back.async_receive(kAwait);
    counted += 2;
  }
}

Awaitable<void> Pong(Channel& there, Channel& back, uint64_t trips) {
  for (uint64_t i = 0; i < trips; ++i) {
    int item = co_await there.async_receive(kAwait);
    co_await back.async_send(error_code(), item, kAwait);
  }
}

Awaitable<void> ChannelRendezvous(Run& run) {
  Executor executor = co_await asio::this_coro::executor;
  Channel there(executor, 0);
  Channel back(executor, 0);
  Group group(executor);
  run.Start();
  group.Start(Ping(there, back, run.ops() / 2));
  group.Start(Pong(there, back, run.ops() / 2));
  co_await group.Join();
  run.Stop();
}

Awaitable<void> Producer(Channel& channel, uint64_t items) {
  for (uint64_t i = 0; i < items; ++i)
    co_await channel.async_send(error_code(), static_cast<int>(i), kAwait);
}

Awaitable<void> Consumer(Channel& channel, uint64_t items) {
  for (uint64_t i = 0; i < items; ++i) {
    co_await channel.async_receive(kAwait);
    ++counted;
  }
}

Awaitable<void> ChannelBuffered(Run& run) {
  Executor executor = co_await asio::this_coro::executor;
  Channel channel(executor, kChannelCapacity);
  Group group(executor);
  run.Start();
  group.Start(Producer(channel, run.ops()));
  group.Start(Consumer(channel, run.ops()));
  co_await group.Join();
  run.Stop();
}

Awaitable<void> SleepFor(std::chrono::microseconds time) {
  Timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(kAwait);
}

Awaitable<void> TimeoutUnfired(Run& run) {
  using asio::experimental::awaitable_operators::operator||;
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) {
    auto first = co_await (YieldOnce() || SleepFor(std::chrono::hours(1)));
    if (first.index() == 0) ++counted;
  }
  run.Stop();
}

Awaitable<void> Sleeper(std::chrono::microseconds time) {
  co_await SleepFor(time);
  ++counted;
}

Awaitable<void> Sleep(Run& run) {
  Executor executor = co_await asio::this_coro::executor;
  SleepTimes times;
  run.Start();
  for (uint64_t sleepers : Batches(run.ops(), kSleepers)) {
    Group group(executor);
    for (uint64_t i = 0; i < sleepers; ++i) group.Start(Sleeper(times.Next()));
    co_await group.Join();
  }
  run.Stop();
}

Awaitable<void> Parked() {
  Timer timer(co_await asio::this_coro::executor, Timer::time_point::max());
  error_code cancelled;
  co_await timer.async_wait(asio::redirect_error(kAwait, cancelled));
  if (cancelled) ++counted;
}

Awaitable<void> CancelParked(Run& run) {
  Executor executor = co_await asio::this_coro::executor;
  for (uint64_t tasks : Batches(run.ops(), kParkedToCancel)) {
    std::vector<asio::cancellation_signal> signals(tasks);
    Group group(executor);
    for (auto& signal : signals) group.StartCancellable(Parked(), signal);
    co_await asio::post(
        kAwait);  // now all of them wait: the queue is first in, first out
    run.Start();
    for (auto& signal : signals) signal.emit(asio::cancellation_type::terminal);
    co_await group.Join();
    run.Stop();
  }
}

void ParkedTaskBytes(Run& run) {
  static asio::io_context context(
      BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);  // never destroyed: that would take
                                            // seconds
  int64_t before = ResidentBytes();
  for (uint64_t i = 0; i < run.ops(); ++i)
    asio::co_spawn(context, Parked(), asio::detached);
  uint64_t started = context.poll();
  run.Bytes(ResidentBytes() - before);
  if (started < run.ops())
    Die("parked_task_bytes", "not every task was started");
  run.Done(run.ops());
}

void CrossThreadPost(Run& run) {
  asio::io_context context(1);  // the one bench with locks
  auto work = asio::make_work_guard(context);
  std::atomic<uint64_t> ran = 0;
  std::thread poster([&] {
    uint64_t posted = 0;
    for (uint64_t calls : Batches(run.ops(), kPostBatch)) {
      posted += calls;
      for (uint64_t i = 0; i < calls; ++i) {
        asio::post(context, [&ran, &posted] {
          if (++counted == posted) {
            ran.store(posted);
            ran.notify_one();
          }
        });
      }
      for (uint64_t seen = ran.load(); seen != posted; seen = ran.load())
        ran.wait(seen);
    }
    work.reset();
  });
  run.Start();
  context.run();
  run.Stop();
  poster.join();
  run.Done(counted);
}

// As Asio's documentation has it: a coroutine on a pool's executor, awaited.
void CallThread(Run& run) {
  asio::io_context context(1);  // with locks
  asio::thread_pool pool(1);
  asio::co_spawn(
      context,
      [&]() -> Awaitable<void> {
        run.Start();
        for (uint64_t i = 0; i < run.ops(); ++i) {
          counted = co_await asio::co_spawn(
              pool, [i]() -> asio::awaitable<uint64_t> { co_return i + 1; },
              kAwait);
        }
        run.Stop();
      },
      asio::detached);
  context.run();
  pool.join();
  run.Done(counted);
}

template <Awaitable<void> (*body)(Run&)>
void Body(Run& run) {
  asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  asio::co_spawn(context, body(run), [](const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
  run.Done(counted);
}

// A server ends when it has counted as many operations as it was asked for.
bool LastOne(Run& run) { return ++counted == run.ops(); }

Awaitable<void> UdpEcho(Run& run) {
  using Socket = asio::basic_datagram_socket<udp, Executor>;
  Socket socket(
      co_await asio::this_coro::executor,
      {asio::ip::address_v4::loopback(), static_cast<uint16_t>(run.port())});
  run.Listening(socket.local_endpoint().port());
  char buffer[kMaxDatagram];
  udp::endpoint peer;
  do {
    size_t size =
        co_await socket.async_receive_from(asio::buffer(buffer), peer, kAwait);
    co_await socket.async_send_to(asio::buffer(buffer, size), peer, kAwait);
  } while (!LastOne(run));
}

using TcpSocket = asio::basic_stream_socket<tcp, Executor>;

Awaitable<void> ServeTcp(TcpSocket socket, asio::io_context& context,
                         Run& run) {
  char buffer[4096];
  error_code error;
  for (;;) {
    size_t size = co_await socket.async_read_some(
        asio::buffer(buffer), asio::redirect_error(kAwait, error));
    if (error) co_return;
    co_await asio::async_write(socket, asio::buffer(buffer, size),
                               asio::redirect_error(kAwait, error));
    if (error) co_return;
    if (LastOne(run)) context.stop();
  }
}

Awaitable<void> AcceptTcp(asio::io_context& context, Run& run) {
  Executor executor = context.get_executor();
  asio::basic_socket_acceptor<tcp, Executor> acceptor(
      executor,
      {asio::ip::address_v4::loopback(), static_cast<uint16_t>(run.port())});
  run.Listening(acceptor.local_endpoint().port());
  for (;;) {
    TcpSocket socket(executor);
    co_await acceptor.async_accept(socket, kAwait);
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(executor, ServeTcp(std::move(socket), context, run),
                   asio::detached);
  }
}

void TcpEcho(Run& run) {
  static asio::io_context context(
      BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);  // still has its connections at the
                                            // end
  asio::co_spawn(context, AcceptTcp(context, run),
                 [](const std::exception_ptr& error) {
                   if (error) std::rethrow_exception(error);
                 });
  context.run();
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"spawn_join", Body<SpawnJoin>},
                              {"call_depth1", Body<CallDepth1>},
                              {"call_depth100", Body<CallDepth100>},
                              {"yield", Body<Yield>},
                              {"channel_rendezvous", Body<ChannelRendezvous>},
                              {"channel_buffered64", Body<ChannelBuffered>},
                              {"timeout_unfired", Body<TimeoutUnfired>},
                              {"sleep_100k", Body<Sleep>},
                              {"cancel_parked_10k", Body<CancelParked>},
                              {"parked_task_bytes", ParkedTaskBytes},
                              {"cross_thread_post", CrossThreadPost},
                              {"to_thread", CallThread},
                              {"udp_echo_64", Body<UdpEcho>},
                              {"tcp_echo_64x64", TcpEcho}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
