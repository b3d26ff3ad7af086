// TimerQueue: the order of (deadline, registration), against a sorted list.

#include "braid/core/detail/timer_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "braid/core/time.h"

namespace braid::detail {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// A timer that writes down that it fired.
class Noted : public Timer {
 public:
  Noted(std::vector<int>* fired, int number)
      : Timer([](Timer& timer) {
          auto& self = static_cast<Noted&>(timer);
          EXPECT_FALSE(self.armed()) << "disarmed before it fires";
          self.fired_->push_back(self.number_);
        }),
        fired_(fired),
        number_(number) {}
  int number() const { return number_; }

 private:
  std::vector<int>* fired_;
  int number_;
};

Time At(int64_t ns) { return Time(Duration(ns)); }

// Fires all that are due.
void FireAll(TimerQueue& queue, Time now) {
  while (queue.FireNext(now)) {
  }
}

TEST(TimerQueue, FiresInTheOrderOfDeadlines) {
  std::vector<int> fired;
  Noted a(&fired, 1), b(&fired, 2), c(&fired, 3);
  TimerQueue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.next(), kNever);
  EXPECT_FALSE(queue.FireNext(kNever));
  queue.Add(b, At(20));
  queue.Add(c, At(30));
  queue.Add(a, At(10));
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue.next(), At(10));
  FireAll(queue, At(9));
  EXPECT_THAT(fired, IsEmpty());
  FireAll(queue, At(20));
  EXPECT_THAT(fired, ElementsAre(1, 2));
  EXPECT_EQ(queue.next(), At(30));
  FireAll(queue, At(1000));
  EXPECT_THAT(fired, ElementsAre(1, 2, 3));
  EXPECT_TRUE(queue.empty());
}

TEST(TimerQueue, OfOneInstantTheFirstRegisteredFiresFirst) {
  std::vector<int> fired;
  std::vector<std::unique_ptr<Noted>> timers;
  TimerQueue queue;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Noted>(&fired, i));
    queue.Add(*timers.back(), At(5));
  }
  // Taken out and put in again, it is the last.
  queue.Remove(*timers[0]);
  queue.Add(*timers[0], At(5));
  FireAll(queue, At(5));
  EXPECT_EQ(fired.size(), 100u);
  EXPECT_EQ(fired.back(), 0);
  fired.pop_back();
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

TEST(TimerQueue, RemovesAnyAndForgives) {
  std::vector<int> fired;
  Noted a(&fired, 1), b(&fired, 2);
  TimerQueue queue;
  queue.Remove(a);  // not armed: nothing happens
  queue.Add(a, At(1));
  queue.Add(b, At(2));
  EXPECT_TRUE(a.armed());
  queue.Remove(a);
  queue.Remove(a);
  EXPECT_FALSE(a.armed());
  EXPECT_EQ(queue.next(), At(2));
  queue.Remove(b);
  EXPECT_TRUE(queue.empty());
  FireAll(queue, kNever);
  EXPECT_THAT(fired, IsEmpty());
}

TEST(TimerQueue, TheEndsOfTime) {
  std::vector<int> fired;
  Noted past(&fired, 1), last(&fired, 2), never(&fired, 3);
  TimerQueue queue;
  queue.Add(never, kNever);
  queue.Add(last, kNever - 1ns);
  queue.Add(past, kAlways);
  EXPECT_EQ(queue.next(), kAlways);
  FireAll(queue, At(0));
  EXPECT_THAT(fired, ElementsAre(1));
  FireAll(queue, kNever - 1ns);
  EXPECT_THAT(fired, ElementsAre(1, 2));
  queue.Remove(never);
}

// What fires may arm itself again, arm others and remove them.
TEST(TimerQueue, AFiringTimerMayChangeTheQueue) {
  static TimerQueue* queue;
  static std::vector<int> fired;
  static Timer* victim;
  TimerQueue own;
  queue = &own;
  fired.clear();
  Timer third([](Timer&) { fired.push_back(3); });
  Timer second([](Timer&) { fired.push_back(2); });
  victim = &second;
  Timer first([](Timer& self) {
    fired.push_back(1);
    if (fired.size() < 3) return queue->Add(self, At(1));
    queue->Remove(*victim);
  });
  own.Add(first, At(0));
  own.Add(third, At(2));
  own.Add(second, At(2));
  FireAll(own, At(2));
  EXPECT_THAT(fired, ElementsAre(1, 1, 1, 3));
  EXPECT_TRUE(own.empty());
}

TEST(TimerQueueDeathTest, ArmedTwice) {
  EXPECT_DEATH(
      {
        Timer timer([](Timer&) {});
        TimerQueue queue;
        queue.Add(timer, At(1));
        queue.Add(timer, At(2));
      },
      "a timer is armed twice");
}

// Against a list that is kept sorted, with few distinct deadlines so that
// registration often decides.
class Model {
 public:
  void Add(int number, Time when) {
    entries_.push_back({when, sequence_++, number});
    std::sort(
        entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
          return a.when != b.when ? a.when < b.when : a.sequence < b.sequence;
        });
  }
  void Remove(int number) {
    std::erase_if(entries_,
                  [&](const Entry& entry) { return entry.number == number; });
  }
  Time next() const { return entries_.empty() ? kNever : entries_[0].when; }
  size_t size() const { return entries_.size(); }
  std::vector<int> FireAll(Time now) {
    std::vector<int> fired;
    while (!entries_.empty() && entries_[0].when <= now) {
      fired.push_back(entries_[0].number);
      entries_.erase(entries_.begin());
    }
    return fired;
  }

 private:
  struct Entry {
    Time when;
    uint64_t sequence;
    int number;
  };
  std::vector<Entry> entries_;
  uint64_t sequence_ = 0;
};

TEST(TimerQueue, AgreesWithASortedList) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    auto below = [&](uint32_t n) { return static_cast<int>(random() % n); };
    const int distinct = 1 + below(200);
    const int timers_in_use = 1 + below(300);
    std::vector<int> fired;
    std::vector<std::unique_ptr<Noted>> timers;
    for (int i = 0; i < timers_in_use; ++i) {
      timers.push_back(std::make_unique<Noted>(&fired, i));
    }
    TimerQueue queue;
    Model model;
    int64_t now = 0;
    for (int step = 0; step < 5000; ++step) {
      Noted& timer = *timers[below(timers_in_use)];
      if (const int what = below(10); what < 6) {
        if (timer.armed()) {
          queue.Remove(timer);
          model.Remove(timer.number());
        }
        const Time when = At(now + below(distinct));
        queue.Add(timer, when);
        model.Add(timer.number(), when);
      } else if (what < 9) {
        queue.Remove(timer);
        model.Remove(timer.number());
      } else {
        now += below(10);
        fired.clear();
        FireAll(queue, At(now));
        ASSERT_EQ(fired, model.FireAll(At(now)));
      }
      ASSERT_EQ(queue.size(), model.size());
      ASSERT_EQ(queue.next(), model.next());
      ASSERT_EQ(queue.empty(), model.size() == 0);
    }
    fired.clear();
    FireAll(queue, kNever);
    EXPECT_EQ(fired, model.FireAll(kNever));
    for (const auto& timer : timers) EXPECT_FALSE(timer->armed());
  }
}

}  // namespace
}  // namespace braid::detail
