// The subject `libuv`: its sockets and timers, used from callbacks as its guide
// shows.
#include <uv.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/bench/benches.h"
#include "tests/bench/sockets.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

void Check(int result, const char* what) {
  if (result < 0) Die(what, uv_strerror(result));
}

uv_loop_t* Loop() { return uv_default_loop(); }

template <class Handle>
void BoundPort(Run& run, int (*name)(const Handle*, sockaddr*, int*),
               const Handle& handle) {
  sockaddr_in address = {};
  int size = sizeof address;
  Check(name(&handle, reinterpret_cast<sockaddr*>(&address), &size),
        "getsockname");
  run.Listening(ntohs(address.sin_port));
}

Run* current = nullptr;

void CountOne() {
  if (++counted == current->ops()) uv_stop(Loop());
}

// A timer of an hour is armed and disarmed around one turn of the loop: libuv's
// yield.
void TimeoutUnfired(Run& run) {
  current = &run;
  static uv_timer_t timeout;
  static uv_idle_t yield;
  uv_timer_init(Loop(), &timeout);
  uv_idle_init(Loop(), &yield);
  static constexpr auto kArm = [] {
    uv_timer_start(&timeout, [](uv_timer_t*) { std::abort(); }, 3'600'000, 0);
  };
  kArm();
  uv_idle_start(&yield, [](uv_idle_t*) {
    uv_timer_stop(&timeout);
    CountOne();
    kArm();
  });
  run.Start();
  uv_run(Loop(), UV_RUN_DEFAULT);
  run.Stop();
  run.Done(counted);
}

// libuv's timers count milliseconds.
void Sleep(Run& run) {
  SleepTimes times;
  run.Start();
  for (uint64_t sleepers : Batches(run.ops(), kSleepers)) {
    std::vector<uv_timer_t> timers(sleepers);
    uv_update_time(Loop());
    for (uv_timer_t& timer : timers) {
      uv_timer_init(Loop(), &timer);
      auto ended = [](uv_timer_t* ended) {
        ++counted;
        uv_close(reinterpret_cast<uv_handle_t*>(ended), nullptr);
      };
      uv_timer_start(&timer, ended, times.Next() / std::chrono::milliseconds(1),
                     0);
    }
    uv_run(Loop(), UV_RUN_DEFAULT);  // until the last handle is closed
  }
  run.Stop();
  run.Done(counted);
}

// With UV_UDP_RECVMMSG libuv takes up to 20 datagrams at once, each into 64
// KiB.
constexpr size_t kSlab = size_t{20} * 65536;
char slab[kSlab];

void SlabBuffer(uv_handle_t*, size_t suggested, uv_buf_t* buffer) {
  *buffer = uv_buf_init(slab, suggested);
}
void WholeSlab(uv_handle_t*, size_t, uv_buf_t* buffer) {
  *buffer = uv_buf_init(slab, kSlab);
}

void ServeUdp(Run& run, unsigned flags, uv_alloc_cb allocate,
              uv_udp_recv_cb on_received) {
  static uv_udp_t socket;
  current = &run;
  Check(uv_udp_init_ex(Loop(), &socket, AF_INET | flags), "uv_udp_init_ex");
  sockaddr_in address = Loopback(run.port());
  Check(uv_udp_bind(&socket, reinterpret_cast<sockaddr*>(&address), 0),
        "uv_udp_bind");
  Check(uv_udp_recv_start(&socket, allocate, on_received), "uv_udp_recv_start");
  BoundPort(run, uv_udp_getsockname, socket);
  uv_run(Loop(), UV_RUN_DEFAULT);
  run.Done(counted);
}

void UdpEcho(Run& run) {
  ServeUdp(run, 0, SlabBuffer,
           [](uv_udp_t* socket, ssize_t size, const uv_buf_t* buffer,
              const sockaddr* peer, unsigned) {
             if (size <= 0 || peer == nullptr) return;
             uv_buf_t answer = uv_buf_init(buffer->base, size);
             uv_udp_try_send(socket, &answer, 1, peer);
             CountOne();
           });
}

// uv_udp_send queues, and leaves with sendmmsg; it needs memory of its own
// until then.
struct Answer {
  uv_udp_send_t request;
  char data[kMaxDatagram];
};
std::vector<Answer*> idle_answers;

void UdpEchoBatch(Run& run) {
  ServeUdp(run, UV_UDP_RECVMMSG, WholeSlab,
           [](uv_udp_t* socket, ssize_t size, const uv_buf_t* buffer,
              const sockaddr* peer, unsigned) {
             if (size <= 0 || peer == nullptr) return;
             if (idle_answers.empty()) idle_answers.push_back(new Answer);
             Answer* answer = idle_answers.back();
             idle_answers.pop_back();
             std::memcpy(answer->data, buffer->base, size);
             answer->request.data = answer;
             uv_buf_t data = uv_buf_init(answer->data, size);
             uv_udp_send(
                 &answer->request, socket, &data, 1, peer,
                 [](uv_udp_send_t* request, int) {
                   idle_answers.push_back(static_cast<Answer*>(request->data));
                   CountOne();
                 });
           });
}

void Forget(uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); }

void OnData(uv_stream_t* connection, ssize_t size, const uv_buf_t* buffer) {
  if (size < 0)
    return uv_close(reinterpret_cast<uv_handle_t*>(connection), Forget);
  if (size == 0) return;
  uv_buf_t answer = uv_buf_init(buffer->base, size);
  uv_try_write(connection, &answer, 1);
  CountOne();
}

void OnConnection(uv_stream_t* listener, int status) {
  Check(status, "accept");
  auto* connection = new uv_tcp_t;
  uv_tcp_init(Loop(), connection);
  Check(uv_accept(listener, reinterpret_cast<uv_stream_t*>(connection)),
        "uv_accept");
  uv_tcp_nodelay(connection, 1);
  uv_read_start(reinterpret_cast<uv_stream_t*>(connection), SlabBuffer, OnData);
}

void TcpEcho(Run& run) {
  static uv_tcp_t listener;
  current = &run;
  uv_tcp_init(Loop(), &listener);
  sockaddr_in address = Loopback(run.port());
  Check(uv_tcp_bind(&listener, reinterpret_cast<sockaddr*>(&address), 0),
        "uv_tcp_bind");
  Check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 256, OnConnection),
        "uv_listen");
  BoundPort(run, uv_tcp_getsockname, listener);
  uv_run(Loop(), UV_RUN_DEFAULT);
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"timeout_unfired", TimeoutUnfired},
                              {"sleep_100k", Sleep},
                              {"udp_echo_64", UdpEcho},
                              {"udp_echo_64_batch", UdpEchoBatch},
                              {"tcp_echo_64x64", TcpEcho}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
