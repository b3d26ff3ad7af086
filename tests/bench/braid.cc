// The subjects `braid/...`: Braid on the backend that --backend names.
#include "braid/braid.h"

#include <array>
#include <atomic>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/make_backend.h"
#include "braid/fs/file.h"
#include "tests/bench/benches.h"
#include "tests/bench/file_work.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

void DieIfFailed(std::string_view what, const absl::Status& status) {
  if (!status.ok()) Die(what, status.ToString());
}

Task<void> Child() {
  ++counted;
  co_return;
}

Task<absl::Status> StartAndJoin(Run& run, uint64_t batch) {
  run.Start();
  for (uint64_t children : Batches(run.ops(), batch)) {
    co_await OrReturn(WithTaskGroup([=](TaskGroup& group) -> Task<void> {
      for (uint64_t i = 0; i < children; ++i) group.Start("child", Child);
      co_return;
    }));
  }
  run.Stop();
  co_return absl::OkStatus();
}

Task<absl::Status> SpawnJoin(Run& run) {
  co_return co_await StartAndJoin(run, kSpawnBatch);
}

[[gnu::noinline]] Task<int> Next(int i) {
  ++counted;
  co_return i + 1;
}

Task<absl::Status> CallDepth1(Run& run) {
  int value = 0;
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) value = co_await Next(value);
  run.Stop();
  co_return absl::OkStatus();
}

[[gnu::noinline]] Task<int> Descend(int depth) {
  if (depth == 1) co_return 1;
  co_return 1 + co_await Descend(depth - 1);
}

Task<absl::Status> CallDepth100(Run& run) {
  run.Start();
  for (uint64_t depth : Batches(run.ops(), kDepth)) {
    counted += co_await Descend(static_cast<int>(depth));
  }
  run.Stop();
  co_return absl::OkStatus();
}

Task<void> Yielder(uint64_t times) {
  for (uint64_t i = 0; i < times; ++i) {
    co_await Checkpoint();
    ++counted;
  }
}

Task<absl::Status> Yield(Run& run) {
  run.Start();
  co_await AllOf(Yielder(run.ops() / 2), Yielder(run.ops() - run.ops() / 2));
  run.Stop();
  co_return absl::OkStatus();
}

Task<absl::Status> Ping(Sender<int>& there, Receiver<int>& back,
                        uint64_t trips) {
  for (uint64_t i = 0; i < trips; ++i) {
    co_await OrReturn(there.Send(static_cast<int>(i)));
    co_await OrReturn(back.Receive());
    counted += 2;
  }
  co_return absl::OkStatus();
}

Task<absl::Status> Pong(Receiver<int>& there, Sender<int>& back,
                        uint64_t trips) {
  for (uint64_t i = 0; i < trips; ++i) {
    std::optional<int> item = co_await OrReturn(there.Receive());
    co_await OrReturn(back.Send(*std::move(item)));
  }
  co_return absl::OkStatus();
}

Task<absl::Status> ChannelRendezvous(Run& run) {
  auto there = MakeChannel<int>(0);
  auto back = MakeChannel<int>(0);
  run.Start();
  co_await OrReturn(AllOf(Ping(there.sender, back.receiver, run.ops() / 2),
                          Pong(there.receiver, back.sender, run.ops() / 2)));
  run.Stop();
  co_return absl::OkStatus();
}

Task<absl::Status> Producer(Sender<int>& sender, uint64_t items) {
  for (uint64_t i = 0; i < items; ++i) {
    co_await OrReturn(sender.Send(static_cast<int>(i)));
  }
  co_return absl::OkStatus();
}

Task<absl::Status> Consumer(Receiver<int>& receiver, uint64_t items) {
  for (uint64_t i = 0; i < items; ++i) {
    co_await OrReturn(receiver.Receive());
    ++counted;
  }
  co_return absl::OkStatus();
}

Task<absl::Status> ChannelBuffered(Run& run) {
  auto channel = MakeChannel<int>(kChannelCapacity);
  run.Start();
  co_await OrReturn(AllOf(Producer(channel.sender, run.ops()),
                          Consumer(channel.receiver, run.ops())));
  run.Stop();
  co_return absl::OkStatus();
}

Task<absl::Status> TimeoutUnfired(Run& run) {
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) {
    if (co_await MoveOnAfter(std::chrono::hours(1), Checkpoint())) ++counted;
  }
  run.Stop();
  co_return absl::OkStatus();
}

Task<void> Sleeper(std::chrono::microseconds time) {
  co_await SleepFor(time);
  ++counted;
}

Task<absl::Status> Sleep(Run& run) {
  SleepTimes times;
  run.Start();
  for (uint64_t sleepers : Batches(run.ops(), kSleepers)) {
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (uint64_t i = 0; i < sleepers; ++i) {
        group.Start("sleeper", Sleeper, times.Next());
      }
      co_return;
    }));
  }
  run.Stop();
  co_return absl::OkStatus();
}

// Counts a task that is stopped: a destructor is all that runs of it then.
struct CountEnd {
  ~CountEnd() { ++counted; }
};

Task<void> Parked() {
  CountEnd count;
  co_await SleepForever();
}

Task<absl::Status> CancelParked(Run& run) {
  for (uint64_t tasks : Batches(run.ops(), kParkedToCancel)) {
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (uint64_t i = 0; i < tasks; ++i) group.Start("parked", Parked);
      // Now all of them wait: the queue is first in, first out.
      co_await Checkpoint();
      run.Start();
      group.Cancel();
    }));
    run.Stop();
  }
  co_return absl::OkStatus();
}

Task<absl::Status> ParkedTaskBytes(Run& run) {
  uint64_t before = ResidentBytes();
  co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
    for (uint64_t i = 0; i < run.ops(); ++i) group.Start("parked", Parked);
    co_await Checkpoint();
    run.Bytes(ResidentBytes() - before);
    group.Cancel();
  }));
  co_return absl::OkStatus();
}

Task<absl::Status> CrossThreadPost(Run& run) {
  // Two tasks of one program: the loop must not end before the last call.
  std::atomic<uint64_t> ran = 0;
  Portal portal = Portal::Current();
  CancelScope until_done;
  std::thread poster([&] {
    uint64_t posted = 0;
    for (uint64_t calls : Batches(run.ops(), kPostBatch)) {
      posted += calls;
      for (uint64_t i = 0; i < calls; ++i) {
        portal.Post([&ran, &posted] {
          if (++counted == posted) {
            ran.store(posted);
            ran.notify_one();
          }
        });
      }
      for (uint64_t seen = ran.load(); seen != posted; seen = ran.load()) {
        ran.wait(seen);
      }
    }
    portal.Post([&] { until_done.Cancel(); });
  });
  run.Start();
  co_await until_done.Run(SleepForever());
  run.Stop();
  poster.join();
  co_return absl::OkStatus();
}

Task<absl::Status> CallThread(Run& run) {
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i)
    counted = co_await ToThread([i] { return i + 1; });
  run.Stop();
  co_return absl::OkStatus();
}

template <uint64_t block, bool writes>
Task<absl::Status> FileBlocks(Run& run) {
  const FileWork work(block, run.ops(), /*filled=*/!writes);
  File file = co_await OrReturn(File::Open(work.path(), {.write = writes}));
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) {
    const uint64_t offset = work.OffsetOf(i);
    if (offset == 0) file.Seek(0);
    if constexpr (writes) {
      co_await OrReturn(file.Write(work.buffer()));
      ++counted;
    } else {
      const size_t size = co_await OrReturn(file.Read(work.buffer()));
      if (size == block) ++counted;
    }
  }
  run.Stop();
  co_return absl::OkStatus();
}

template <Task<absl::Status> (*body)(Run&)>
void Body(Run& run) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(run.backend());
  DieIfFailed(run.backend(), backend.status());
  DieIfFailed(run.backend(), braid::Run(**backend, body(run)));
  run.Done(counted);
}

// A server ends when it has counted as many operations as it was asked for.
bool LastOne(Run& run) { return ++counted == run.ops(); }

SocketAddress Loopback(Run& run) {
  return *SocketAddress::Parse("127.0.0.1:" + std::to_string(run.port()));
}

Task<absl::Status> UdpEcho(Run& run) {
  UdpSocket socket = co_await OrReturn(UdpSocket::Bind(Loopback(run)));
  run.Listening(socket.local_address().port());
  DatagramBuffer buffer(kMaxDatagram);
  do {
    Datagram d = co_await OrReturn(socket.Receive(buffer));
    co_await OrReturn(socket.SendTo(d.data, d.peer));
  } while (!LastOne(run));
  co_return absl::OkStatus();
}

Task<absl::Status> EchoBatches(Run& run, UdpOptions options) {
  UdpSocket socket = co_await OrReturn(UdpSocket::Bind(Loopback(run), options));
  run.Listening(socket.local_address().port());
  for (;;) {
    DatagramBatch batch = co_await OrReturn(socket.ReceiveBatch());
    std::span<const Datagram> left = batch.datagrams();
    while (!left.empty()) {
      const size_t sent = co_await OrReturn(socket.SendBatch(left));
      left = left.subspan(sent);
      for (size_t i = 0; i < sent; ++i) {
        if (LastOne(run)) co_return absl::OkStatus();
      }
    }
  }
}

Task<absl::Status> UdpEchoBatch(Run& run) {
  co_return co_await EchoBatches(run, {});
}

Task<absl::Status> UdpEchoOffload(Run& run) {
  co_return co_await EchoBatches(run, {.offload = true});
}

Task<absl::Status> ServeTcp(TcpStream stream, TaskGroup& group, Run& run) {
  char buffer[4096];
  for (;;) {
    const size_t size = co_await OrReturn(
        stream.Receive(std::as_writable_bytes(std::span(buffer))));
    if (size == 0) co_return absl::OkStatus();
    co_await OrReturn(
        stream.Send(std::as_bytes(std::span(buffer)).first(size)));
    if (LastOne(run)) group.Cancel();
  }
}

Task<absl::Status> TcpEcho(Run& run) {
  RaiseDescriptorLimit();
  TcpListener listener = co_await OrReturn(TcpListener::Bind(Loopback(run)));
  run.Listening(listener.local_address().port());
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (;;) {
      TcpStream stream = co_await OrReturn(listener.Accept());
      group.Start("connection", ServeTcp, std::move(stream), std::ref(group),
                  std::ref(run));
    }
  });
}

// Sweeps.

Task<absl::Status> SweepTasks(Run& run) {
  co_return co_await StartAndJoin(run, run.size());
}

Task<absl::Status> SweepYields(Run& run) {
  co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
    for (uint64_t i = 0; i < run.size(); ++i)
      group.Start("yielder", Yielder, run.ops() / run.size());
    run.Start();
    co_return;
  }));
  run.Stop();
  co_return absl::OkStatus();
}

Task<absl::Status> SweepTimers(Run& run) {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (uint64_t i = 0; i < run.size(); ++i)
      group.Start("sleeper", Sleeper, std::chrono::hours(1));
    co_await Checkpoint();
    co_await OrReturn(TimeoutUnfired(run));
    group.Cancel();
    co_return co_await group.Join();
  });
}

Task<absl::Status> SweepShards(Run& run) {
  UdpSocket first =
      co_await OrReturn(UdpSocket::Bind(Loopback(run), {.reuse_port = true}));
  const SocketAddress address = first.local_address();
  co_await first.Close();
  const int count = static_cast<int>(run.size());
  std::atomic<int> bound = 0;
  std::atomic<uint64_t> echoed = 0;
  const absl::Status status =
      co_await RunSharded(count, [&](Shard) -> Task<absl::Status> {
        UdpSocket socket =
            co_await OrReturn(UdpSocket::Bind(address, {.reuse_port = true}));
        if (++bound == count) run.Listening(address.port());
        DatagramBuffer buffer(kMaxDatagram);
        for (;;) {
          Datagram d = co_await OrReturn(socket.Receive(buffer));
          co_await OrReturn(socket.SendTo(d.data, d.peer));
          // Ends the others, too.
          if (run.ops() != 0 && ++echoed == run.ops())
            co_return absl::CancelledError("all done");
        }
      });
  counted = echoed;
  co_return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

constexpr Bench kBenches[] = {
    {"spawn_join", Body<SpawnJoin>},
    {"call_depth1", Body<CallDepth1>},
    {"call_depth100", Body<CallDepth100>},
    {"yield", Body<Yield>},
    {"channel_rendezvous", Body<ChannelRendezvous>},
    {"channel_buffered64", Body<ChannelBuffered>},
    {"timeout_unfired", Body<TimeoutUnfired>},
    {"sleep_100k", Body<Sleep>},
    {"cancel_parked_10k", Body<CancelParked>},
    {"parked_task_bytes", Body<ParkedTaskBytes>},
    {"cross_thread_post", Body<CrossThreadPost>},
    {"to_thread", Body<CallThread>},
    {"file_read_64k", Body<FileBlocks<64 << 10, false>>},
    {"file_read_1m", Body<FileBlocks<1 << 20, false>>},
    {"file_write_64k", Body<FileBlocks<64 << 10, true>>},
    {"file_write_1m", Body<FileBlocks<1 << 20, true>>},
    {"udp_echo_64", Body<UdpEcho>},
    {"udp_echo_64_batch", Body<UdpEchoBatch>},
    {"udp_echo_64_offload", Body<UdpEchoOffload>},
    {"tcp_echo_64x64", Body<TcpEcho>},
    {"sweep_tasks", Body<SweepTasks>, true},
    {"sweep_yields", Body<SweepYields>, true},
    {"sweep_timers", Body<SweepTimers>, true},
    {"sweep_connections", Body<TcpEcho>, true},
    {"sweep_shards", Body<SweepShards>, true}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
