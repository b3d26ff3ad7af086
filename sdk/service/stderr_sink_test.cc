#include "braid/service/stderr_sink.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace braid::service {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr milliseconds kLong =
    std::chrono::seconds(30);  // ends a test that hangs; nothing waits for it

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    in = ends[1];
    out = ends[0];
  }
  ~Pipe() {
    close(in);
    CloseOut();
  }
  void CloseOut() {
    if (out >= 0) close(out);
    out = -1;
  }
  // Fills it, so that the next write blocks.
  void Fill() const {
    ASSERT_EQ(fcntl(in, F_SETFL, O_NONBLOCK), 0);
    const std::string chunk(4096, '#');
    while (write(in, chunk.data(), chunk.size()) > 0) {
    }
    ASSERT_EQ(errno, EAGAIN);
    ASSERT_EQ(fcntl(in, F_SETFL, 0), 0);
  }
  // Reads until `text` has come.
  std::string ReadUntil(const std::string& text) const {
    std::string all;
    std::array<char, 65536> buffer;
    while (all.find(text) == std::string::npos) {
      const ssize_t count = read(out, buffer.data(), buffer.size());
      if (count <= 0) break;
      all.append(buffer.data(), static_cast<size_t>(count));
    }
    return all;
  }

  int in = -1;
  int out = -1;
};

TEST(StderrSinkTest, WritesLines) {
  Pipe pipe;
  {
    StderrSink sink({.descriptor = pipe.in});
    for (int i = 0; i < 1000; ++i)
      sink.Write(LogLevel::kInfo, "line " + std::to_string(i));
    EXPECT_TRUE(sink.Flush(kLong));
    EXPECT_EQ(sink.dropped(), 0u);
    sink.Write(LogLevel::kInfo, "the last one");
  }
  const std::string text = pipe.ReadUntil("the last one\n");
  EXPECT_EQ(text.substr(0, 14), "line 0\nline 1\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1001);
}

// Nobody reads: the caller goes on, memory is bounded, and what is lost is
// counted.
TEST(StderrSinkTest, AFullPipeBlocksNobody) {
  Pipe pipe;
  pipe.Fill();
  StderrSink sink({.descriptor = pipe.in, .buffer_bytes = 1000});
  const std::string line(99, 'x');
  for (int i = 0; i < 10000; ++i) sink.Write(LogLevel::kInfo, line);
  // Ten fit into the buffer, and as many may be in the hands of the writing
  // thread.
  EXPECT_GE(sink.dropped(), 10000u - 20);
  EXPECT_LE(sink.dropped(), 10000u - 10);
  EXPECT_FALSE(sink.Flush(milliseconds(1)));
  // Reading helps.
  std::thread reader([&] { pipe.ReadUntil("the end\n"); });
  EXPECT_TRUE(sink.Flush(kLong));
  const uint64_t dropped = sink.dropped();
  sink.Write(LogLevel::kInfo, "the end");
  reader.join();
  EXPECT_EQ(sink.dropped(), dropped);
}

TEST(StderrSinkTest, TheEndDoesNotWaitForAStuckPipe) {
  Pipe pipe;
  pipe.Fill();
  const auto begin = std::chrono::steady_clock::now();
  {
    StderrSink sink({.descriptor = pipe.in, .flush_limit = milliseconds(10)});
    sink.Write(LogLevel::kInfo, "x");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kLong);
  // The thread that was left behind ends once it can, so that the process is
  // clean for leak checkers.
  pipe.ReadUntil("x\n");
}

// SIGPIPE would end the process.
TEST(StderrSinkTest, AClosedPipeIsCounted) {
  ASSERT_EQ(signal(SIGPIPE, SIG_DFL), SIG_DFL);
  Pipe pipe;
  pipe.CloseOut();
  StderrSink sink({.descriptor = pipe.in});
  sink.Write(LogLevel::kInfo, "a");
  EXPECT_TRUE(sink.Flush(kLong));
  EXPECT_EQ(sink.dropped(), 1u);
  sink.Write(LogLevel::kInfo, "b\nc");
  EXPECT_TRUE(sink.Flush(kLong));
  EXPECT_EQ(sink.dropped(), 3u);
}

TEST(StderrSinkTest, AFullDiskIsCounted) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  {
    StderrSink sink({.descriptor = full});
    for (int i = 0; i < 100; ++i) sink.Write(LogLevel::kError, "x");
    EXPECT_TRUE(sink.Flush(kLong));
    EXPECT_EQ(sink.dropped(), 100u);
  }
  close(full);
}

TEST(StderrSinkTest, ABadDescriptorIsCounted) {
  StderrSink sink({.descriptor = 987654});
  sink.Write(LogLevel::kInfo, "x");
  EXPECT_TRUE(sink.Flush(kLong));
  EXPECT_EQ(sink.dropped(), 1u);
}

// A file that may not grow (as a disk that is full): what fits is written, the
// line that was cut off is ended before the next one.
TEST(StderrSinkTest, GoesOnOnceThereIsRoomAgain) {
  std::string path = ::testing::TempDir() + "/log-XXXXXX";
  const int file = mkstemp(path.data());
  ASSERT_GE(file, 0);
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_NE(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  {
    StderrSink sink({.descriptor = file});
    sink.Write(LogLevel::kInfo, "first");
    EXPECT_TRUE(sink.Flush(kLong));
    sink.Write(LogLevel::kInfo, "second");
    EXPECT_TRUE(sink.Flush(kLong));
    EXPECT_EQ(sink.dropped(), 1u);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    sink.Write(LogLevel::kInfo, "third");
    EXPECT_TRUE(sink.Flush(kLong));
    EXPECT_EQ(sink.dropped(), 1u);
  }
  std::array<char, 100> buffer;
  const ssize_t size = pread(file, buffer.data(), buffer.size(), 0);
  EXPECT_EQ(std::string(buffer.data(), static_cast<size_t>(size)),
            "first\nseco\nthird\n");
  close(file);
  signal(SIGXFSZ, SIG_DFL);
}

TEST(StderrSinkTest, WaitsForADescriptorThatIsNonBlocking) {
  Pipe pipe;
  pipe.Fill();
  ASSERT_EQ(fcntl(pipe.in, F_SETFL, O_NONBLOCK), 0);
  StderrSink sink({.descriptor = pipe.in});
  sink.Write(LogLevel::kInfo, "through");
  EXPECT_THAT(pipe.ReadUntil("through\n"), HasSubstr("through\n"));
  EXPECT_TRUE(sink.Flush(kLong));
  EXPECT_EQ(sink.dropped(), 0u);
}

TEST(StderrSinkTest, Threads) {
  Pipe pipe;
  std::string text;
  std::thread reader([&] { text = pipe.ReadUntil("the end\n"); });
  {
    StderrSink sink({.descriptor = pipe.in});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i)
          sink.Write(LogLevel::kInfo, "0123456789");
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(sink.dropped(), 0u);
    sink.Write(LogLevel::kInfo, "the end");
  }
  reader.join();
  EXPECT_EQ(text.size(), 4000 * 11 + 8u);
}

}  // namespace
}  // namespace braid::service
