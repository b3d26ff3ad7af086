// The subject `floor`: floor.h under the benches that such a runtime can do.
#include "tests/bench/floor.h"

#include "tests/bench/benches.h"
#include "tests/bench/floor_channel.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

using floor::Channel;
using floor::Group;
using floor::Job;
using floor::Task;

void RunJob(Job job) {
  Group group;
  group.Start(job);
  floor::run_queue.Run();
}

Job Child() {
  ++counted;
  co_return;
}

Job SpawnJoin(Run& run) {
  run.Start();
  for (uint64_t children : Batches(run.ops(), kSpawnBatch)) {
    Group group;
    for (uint64_t i = 0; i < children; ++i) group.Start(Child());
    co_await group;
  }
  run.Stop();
}

[[gnu::noinline]] Task Next(int i) {
  ++counted;
  co_return i + 1;
}

Job CallDepth1(Run& run) {
  int value = 0;
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) value = co_await Next(value);
  run.Stop();
}

[[gnu::noinline]] Task Descend(int depth) {
  if (depth == 1) co_return 1;
  co_return 1 + co_await Descend(depth - 1);
}

Job CallDepth100(Run& run) {
  run.Start();
  for (uint64_t depth : Batches(run.ops(), kDepth))
    counted += co_await Descend(static_cast<int>(depth));
  run.Stop();
}

Job Yielder(uint64_t times) {
  for (uint64_t i = 0; i < times; ++i) {
    co_await floor::Yield();
    ++counted;
  }
}

Job Yield(Run& run) {
  run.Start();
  Group group;
  group.Start(Yielder(run.ops() / 2));
  group.Start(Yielder(run.ops() - run.ops() / 2));
  co_await group;
  run.Stop();
}

Job Ping(Channel& there, Channel& back, uint64_t trips) {
  for (uint64_t i = 0; i < trips; ++i) {
    co_await Channel::Send(there, static_cast<int>(i));
    co_await Channel::Receive(back);
    counted += 2;
  }
}

Job Pong(Channel& there, Channel& back, uint64_t trips) {
  for (uint64_t i = 0; i < trips; ++i)
    co_await Channel::Send(back, co_await Channel::Receive(there));
}

Job ChannelRendezvous(Run& run) {
  Channel there(0);
  Channel back(0);
  run.Start();
  Group group;
  group.Start(Ping(there, back, run.ops() / 2));
  group.Start(Pong(there, back, run.ops() / 2));
  co_await group;
  run.Stop();
}

Job Producer(Channel& channel, uint64_t items) {
  for (uint64_t i = 0; i < items; ++i)
    co_await Channel::Send(channel, static_cast<int>(i));
}

Job Consumer(Channel& channel, uint64_t items) {
  for (uint64_t i = 0; i < items; ++i) {
    co_await Channel::Receive(channel);
    ++counted;
  }
}

Job ChannelBuffered(Run& run) {
  Channel channel(kChannelCapacity);
  run.Start();
  Group group;
  group.Start(Producer(channel, run.ops()));
  group.Start(Consumer(channel, run.ops()));
  co_await group;
  run.Stop();
}

Job ParkedChild() {
  ++counted;
  co_await floor::Park();
}

// Its group never ends: the body is left waiting, and so is whoever started it.
void ParkedTaskBytes(Run& run) {
  static Group group;
  int64_t before = ResidentBytes();
  for (uint64_t i = 0; i < run.ops(); ++i) group.Start(ParkedChild());
  floor::run_queue.Run();
  run.Bytes(ResidentBytes() - before);
  run.Done(counted);
}

template <Job (*body)(Run&)>
void Body(Run& run) {
  RunJob(body(run));
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"spawn_join", Body<SpawnJoin>},
                              {"call_depth1", Body<CallDepth1>},
                              {"call_depth100", Body<CallDepth100>},
                              {"yield", Body<Yield>},
                              {"channel_rendezvous", Body<ChannelRendezvous>},
                              {"channel_buffered64", Body<ChannelBuffered>},
                              {"parked_task_bytes", ParkedTaskBytes}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
