// Channels under random use: many producers and consumers that are cancelled,
// close their ends, clone them and try without waiting, in shuffled orders.
// What happened is compared with what may happen:
//   - an item that a producer knows was sent was received, once, or dropped
//     with the buffer when the last receiver closed; no other item was;
//   - an item that was not sent is where the producer had it;
//   - a consumer gets the items of one producer in the order of sending;
//   - the buffer never holds more than its capacity;
//   - nobody waits for ever (virtual time reports that).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/channel.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Moves only, and says so: an item that was moved from is empty.
struct Item {
  Item() = default;
  Item(int producer, int number) : producer(producer), number(number) {}
  Item(Item&& other) noexcept
      : producer(std::exchange(other.producer, -1)),
        number(std::exchange(other.number, -1)) {}
  Item& operator=(Item&& other) noexcept {
    producer = std::exchange(other.producer, -1);
    number = std::exchange(other.number, -1);
    return *this;
  }
  bool empty() const { return producer < 0; }
  std::pair<int, int> key() const { return {producer, number}; }

  int producer = -1;
  int number = -1;
};

// One random run.
class Model {
 public:
  Model(uint64_t seed, bool receivers_stay)
      : random_(seed), receivers_stay_(receivers_stay) {
    constexpr size_t kCapacities[] = {0, 0, 1, 2, 3, 7, 64, kUnbounded};
    capacity_ = kCapacities[Draw(8)];
  }

  Task<absl::Status> Main(TaskGroup& group) {
    auto [sender, receiver] = MakeChannel<Item>(capacity_);
    // Watches from the side; closed when all others are.
    probe_ = sender.Clone();
    const int producers = 1 + Draw(6);
    const int consumers = 1 + Draw(6);
    std::vector<TaskHandle<void>> tasks;
    tasks.reserve(producers + consumers);
    for (int i = 0; i < producers; ++i) {
      tasks.push_back(
          group.Start("producer", &Model::Produce, this, i, sender.Clone()));
    }
    for (int i = 0; i < consumers; ++i) {
      auto consumer =
          group.Start("consumer", &Model::Consume, this, receiver.Clone());
      if (!receivers_stay_ || i > 0) tasks.push_back(consumer);
    }
    sender.Close();
    receiver.Close();
    // Whoever drew the lot is stopped, some of them at the same moment.
    std::shuffle(tasks.begin(), tasks.end(), random_);
    tasks.erase(tasks.begin() + Draw(static_cast<int>(tasks.size()) + 1),
                tasks.end());
    for (TaskHandle<void>& task : tasks) {
      if (Draw(3) > 0) co_await Pause(30);
      task.Cancel();
    }
    probe_.Close();
    co_await OrReturn(group.Join());
    Verify();
    co_return absl::OkStatus();
  }

 private:
  int Draw(int n) { return static_cast<int>(random_() % n); }

  Task<void> Pause(int most) {
    for (int i = Draw(most); i > 0; --i) {
      if (Draw(2) == 0) {
        co_await Checkpoint();
      } else {
        co_await SleepFor(std::chrono::milliseconds(Draw(3)));
      }
    }
  }

  void Look() {
    const ChannelStats now = probe_.stats();
    if (probe_.closed()) return;
    EXPECT_LE(now.buffer_used, now.capacity);
    EXPECT_LE(now.peak_buffer_used, now.capacity);
    EXPECT_GE(now.peak_buffer_used, now.buffer_used);
    if (now.tasks_waiting_to_send > 0) {
      EXPECT_EQ(now.buffer_used, now.capacity);
      EXPECT_EQ(now.tasks_waiting_to_receive, 0u);
    }
    if (now.tasks_waiting_to_receive > 0) {
      EXPECT_EQ(now.buffer_used, 0u);
    }
  }

  // Writes down what became of an item however its sending ends.
  class Attempt {
   public:
    Attempt(Model* model, int producer, int number)
        : item(producer, number), model_(model), key_(item.key()) {}
    ~Attempt() {
      if (item.empty()) {
        model_->sent_.insert(key_);
      } else {
        EXPECT_EQ(item.key(), key_);
        model_->kept_.insert(key_);
      }
    }

    Item item;

   private:
    Model* model_;
    std::pair<int, int> key_;
  };

  Task<void> Produce(int me, Sender<Item> sender) {
    const int items = Draw(40);
    for (int i = 0; i < items; ++i) {
      Attempt attempt(this, me, i);
      Look();
      switch (Draw(8)) {
        case 0: {  // without waiting
          const absl::Status status = sender.TrySend(std::move(attempt.item));
          EXPECT_EQ(status.ok(), attempt.item.empty());
          EXPECT_TRUE(status.ok() || IsWouldBlock(status) || IsBroken(status))
              << status;
          break;
        }
        case 1: {  // with a time limit
          const std::optional<absl::Status> status =
              co_await MoveOnAfter(std::chrono::milliseconds(Draw(3)),
                                   sender.Send(std::move(attempt.item)));
          EXPECT_EQ(status.has_value() && status->ok(), attempt.item.empty());
          break;
        }
        case 2: {  // through another end, and the old one closes
          Sender<Item> clone = sender.Clone();
          sender = std::move(clone);
          [[fallthrough]];
        }
        default: {
          const absl::Status status =
              co_await sender.Send(std::move(attempt.item));
          EXPECT_EQ(status.ok(), attempt.item.empty());
          EXPECT_TRUE(status.ok() || IsBroken(status)) << status;
        }
      }
      if (Draw(4) == 0) co_await Pause(3);
    }
  }

  Task<void> Consume(Receiver<Item> receiver) {
    std::map<int, int> last;
    const int most = receivers_stay_ ? 1'000'000 : Draw(100);
    for (int i = 0; i < most; ++i) {
      Look();
      std::optional<Item> item;
      switch (Draw(6)) {
        case 0: {
          absl::StatusOr<std::optional<Item>> result = receiver.TryReceive();
          if (IsWouldBlock(result.status())) {
            co_await Pause(2);
            continue;
          }
          item = *std::move(result);
          break;
        }
        case 1: {
          auto result = co_await MoveOnAfter(std::chrono::milliseconds(Draw(3)),
                                             receiver.Receive());
          if (!result.has_value()) continue;
          item = **std::move(result);
          break;
        }
        case 2: {
          Receiver<Item> clone = receiver.Clone();
          receiver = std::move(clone);
          [[fallthrough]];
        }
        default:
          item = *co_await receiver.Receive();
      }
      if (!item.has_value()) co_return;
      EXPECT_FALSE(item->empty());
      EXPECT_TRUE(received_.insert(item->key()).second) << "twice";
      auto [before, first] = last.try_emplace(item->producer, item->number);
      if (!first) {
        EXPECT_LT(before->second, item->number);
        before->second = item->number;
      }
      if (Draw(4) == 0) co_await Pause(3);
    }
  }

  void Verify() {
    for (const auto& key : received_) EXPECT_TRUE(sent_.contains(key));
    for (const auto& key : kept_) EXPECT_FALSE(received_.contains(key));
    // One receiver was there to the end: nothing was dropped.
    if (receivers_stay_) {
      EXPECT_EQ(received_, sent_);
    }
  }

  std::mt19937_64 random_;
  bool receivers_stay_;
  size_t capacity_;
  Sender<Item> probe_;
  std::set<std::pair<int, int>> sent_;
  std::set<std::pair<int, int>> kept_;
  std::set<std::pair<int, int>> received_;
};

TEST(ChannelModelTest, NothingIsLostOrDoubledOrOvertaken) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed = " << seed);
    Model model(seed, /*receivers_stay=*/seed % 2 == 0);
    RunGroupInOrder(
        [&](TaskGroup& group) -> Task<absl::Status> {
          co_return co_await model.Main(group);
        },
        {.shuffle_seed =
             seed % 4 < 2 ? std::optional<uint64_t>() : std::optional(seed)});
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace braid
