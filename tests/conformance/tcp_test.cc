// TcpStream and TcpListener.

#include "braid/net/tcp.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/network.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

Task<void> SayOnce(TcpStream* stream, std::string name = "") {
  const std::string got = co_await ReceiveOnce(stream);
  Saw(name.empty() ? got : name + " " + got);
}

TEST(Tcp, BothEndsKnowEachOther) {
  Conforms("they do", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    EXPECT_EQ(ends.client.peer_address(), ends.server.local_address());
    EXPECT_EQ(ends.server.peer_address(), ends.client.local_address());
    Saw("they do");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, CarriesBytesBothWays) {
  Conforms("question, answer", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.Send("question"));
    co_await SayOnce(&ends.server);
    co_await OrReturn(ends.server.Send("answer"));
    co_await SayOnce(&ends.client);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, SendingNothingIsFine) {
  Conforms("x", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.Send(""));
    co_await OrReturn(ends.client.Send("x"));
    co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AReceiveGivesNoMoreThanItsBufferAndTheRestLater) {
  Conforms("hel, lo", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.Send("hello"));
    Saw(co_await ReceiveOnce(&ends.server, 3));
    Saw(co_await ReceiveOnce(&ends.server, 3));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ABufferOfNoBytesIsRefused) {
  Conforms("INVALID_ARGUMENT", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    Saw(co_await ReceiveOnce(&ends.server, 0));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AReceiverWaitsUntilSomethingComes) {
  Conforms("late@2", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    group.Start("receiver", SayOnce, &ends.server, "");
    co_await SleepFor(Ticks(2));
    co_await OrReturn(ends.client.Send("late"));
    co_return co_await group.Join();
  });
}

TEST(Tcp, TheEndOfTheStreamIsAValueAndStaysSo) {
  Conforms("last words, end, end", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.Send("last words"));
    co_await ends.client.Close();
    for (int i = 0; i < 3; ++i) co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AfterSendEofTheOtherWayIsStillOpen) {
  Conforms("end, reply", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.SendEof());
    co_await OrReturn(ends.client.SendEof());
    co_await SayOnce(&ends.server);
    co_await OrReturn(ends.server.Send("reply"));
    co_await SayOnce(&ends.client);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ASendAfterSendEofIsClosed) {
  Conforms("closed", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.SendEof());
    Saw(Kind(co_await ends.client.Send("more")));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AStreamThatGoesEndsTheOtherSideInGoodOrder) {
  Conforms("bye, end", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    std::optional<TcpStream> client = std::move(ends.client);
    co_await OrReturn(client->Send("bye"));
    client.reset();
    for (int i = 0; i < 2; ++i) co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, MoreThanTheBuffersHoldArrivesWhole) {
  Conforms("all of it", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    const std::string plenty = Plenty();
    group.Start("sender", [&]() -> Task<absl::Status> {
      co_await OrReturn(ends.client.Send(plenty));
      co_return co_await ends.client.SendEof();
    });
    if (co_await OrReturn(ReceiveToTheEnd(&ends.server)) == plenty)
      Saw("all of it");
    co_return co_await group.Join();
  });
}

TEST(Tcp, APeerThatNobodyReadsFromIsHeldBack) {
  Conforms("held back@5, sent", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    const std::string plenty = Plenty();
    auto sender = group.Start("sender", [&]() -> Task<absl::Status> {
      co_await OrReturn(ends.client.Send(plenty));
      Saw("sent");
      co_return co_await ends.client.SendEof();
    });
    co_await SleepFor(Ticks(5));
    Saw(sender.done() ? "done" : "held back");
    EXPECT_EQ((co_await OrReturn(ReceiveToTheEnd(&ends.server))).size(),
              plenty.size());
    co_return co_await group.Join();
  });
}

TEST(Tcp, OneThatNobodyAcceptedIsHeldBackToo) {
  Conforms("held back@5", [](TaskGroup& group) -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(
        TcpListener::Bind(kLoopback, {.stream = kSmallBuffers}));
    TcpStream client = co_await OrReturn(
        TcpStream::Connect(listener.local_address(), kSmallBuffers));
    const std::string plenty = Plenty();
    auto sender = group.Start("sender", [&]() -> Task<void> {
      (co_await client.Send(plenty)).IgnoreError();
      Saw("sent");
    });
    co_await SleepFor(Ticks(5));
    Saw(sender.done() ? "done" : "held back");
    sender.Cancel();
    co_return co_await group.Join();
  });
}

// ------------------------------------------------------ errors that stay

TEST(Tcp, ARefusedConnectionIsUnavailable) {
  Conforms("UNAVAILABLE; names the address", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    const SocketAddress address = listener.local_address();
    co_await listener.Close();
    const absl::Status refused =
        (co_await TcpStream::Connect(address)).status();
    EXPECT_FALSE(IsBroken(refused)) << "nothing was there to break";
    Saw(absl::StatusCodeToString(refused.code()) +
        (Text(refused).find(address.ToString()) != std::string::npos
             ? "; names the address"
             : ""));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AResetIsBrokenAndStaysSo) {
  Conforms("broken, broken, broken", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(Reset(&ends, &ends.client));
    co_await SayOnce(&ends.server);
    co_await SayOnce(&ends.server);
    Saw(Kind(co_await ends.server.Send("x")));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AReaderThatWaitsIsToldOfAReset) {
  Conforms("reader broken", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    group.Start("reader", SayOnce, &ends.server, "reader");
    co_await OthersWait();
    co_await OrReturn(Reset(&ends, &ends.client));
    co_return co_await group.Join();
  });
}

TEST(Tcp, WhatArrivedBeforeAResetIsReceivedFirst) {
  Conforms("before, broken", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    // The server takes one byte of what the client sends, and goes.
    co_await OrReturn(ends.server.Send("before"));
    co_await OrReturn(Reset(&ends, &ends.server));
    co_await SayOnce(&ends.client);
    co_await SayOnce(&ends.client);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ASendThatWasStoppedHalfWayTearsTheStream) {
  Conforms("gave up@2, broken; says how many bytes, receives",
           []() -> Task<absl::Status> {
             TcpEnds ends = co_await OrReturn(ConnectedTcp());
             const std::string plenty = Plenty();
             if (!(co_await MoveOnAfter(Ticks(2), ends.client.Send(plenty)))
                      .has_value())
               Saw("gave up");
             const absl::Status torn = co_await ends.client.Send("x");
             Saw(Kind(torn) + (Text(torn).find("bytes") != std::string::npos
                                   ? "; says how many bytes"
                                   : ""));
             co_await OrReturn(ends.server.Send("receives"));
             co_await SayOnce(&ends.client);
             co_return absl::OkStatus();
           });
}

TEST(Tcp, WhatWentOutOfATornStreamIsAPrefix) {
  Conforms("a prefix@2", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    const std::string plenty = Plenty();
    (void)co_await MoveOnAfter(Ticks(2), ends.client.Send(plenty));
    co_await ends.client.Close();
    const std::string got = co_await OrReturn(ReceiveToTheEnd(&ends.server));
    if (!got.empty() && got.size() < plenty.size() && plenty.starts_with(got))
      Saw("a prefix");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ASendThatWasStoppedBeforeItBeganTearsNothing) {
  Conforms("whole", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run(ends.client.Send("never"));
    co_await OrReturn(ends.client.Send("whole"));
    co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------------------ cancellation

TEST(Tcp, AReceiveThatWasStoppedTookNoByte) {
  Conforms("gave up@1, all of it", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    if (!(co_await MoveOnAfter(Ticks(1), ReceiveOnce(&ends.server)))
             .has_value())
      Saw("gave up");
    co_await OrReturn(ends.client.Send("all of it"));
    co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AnAcceptThatWasStoppedTookNoConnection) {
  Conforms("gave up@1, accepted", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    if (!(co_await MoveOnAfter(Ticks(1), listener.Accept())).has_value())
      Saw("gave up");
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener.local_address()));
    co_await OrReturn(listener.Accept());
    Saw("accepted");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AConnectInACancelledScopeConnectsNothing) {
  Conforms("nobody came@1", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(
        (co_await scope.Run(TcpStream::Connect(listener.local_address())))
            .has_value());
    if (!(co_await MoveOnAfter(Ticks(1), listener.Accept())).has_value())
      Saw("nobody came");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ACloseThatIsCancelledReleasesAllTheSame) {
  Conforms("end", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run(
        [&]() -> Task<void> { co_await ends.client.Close(); });
    co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ALimitOnAReceiveIsDeadlineExceeded) {
  Conforms("DEADLINE_EXCEEDED@1", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    std::string buffer(10, '\0');
    Saw(Kind(
        (co_await FailAfter(Ticks(1), ends.client.Receive(buffer))).status()));
    co_return absl::OkStatus();
  });
}

// --------------------------------------------------------- busy and closed

TEST(Tcp, ASecondReceiverIsBusy) {
  Conforms("second busy, first hello",
           [](TaskGroup& group) -> Task<absl::Status> {
             TcpEnds ends = co_await OrReturn(ConnectedTcp());
             group.Start("first", SayOnce, &ends.server, "first");
             co_await OthersWait();
             co_await SayOnce(&ends.server, "second");
             co_await OrReturn(ends.client.Send("hello"));
             co_return co_await group.Join();
           });
}

TEST(Tcp, ASecondSenderIsBusy) {
  Conforms("busy@1", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    const std::string plenty = Plenty();
    auto first = group.Start("first", [&]() -> Task<void> {
      (co_await ends.client.Send(plenty)).IgnoreError();
    });
    co_await SleepFor(Ticks(1));
    Saw(Kind(co_await ends.client.Send("x")));
    first.Cancel();
    co_return co_await group.Join();
  });
}

TEST(Tcp, OneTaskSendsWhileAnotherReceives) {
  Conforms("both ways", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    const std::string plenty = Plenty();
    for (TcpStream* stream : {&ends.client, &ends.server}) {
      group.Start("sender", [&, stream]() -> Task<absl::Status> {
        co_await OrReturn(stream->Send(plenty));
        co_return co_await stream->SendEof();
      });
    }
    auto got = co_await OrReturn(
        AllOf(ReceiveToTheEnd(&ends.client), ReceiveToTheEnd(&ends.server)));
    if (std::get<0>(got) == plenty && std::get<1>(got) == plenty)
      Saw("both ways");
    co_return co_await group.Join();
  });
}

TEST(Tcp, CloseWakesWhoReceives) {
  Conforms("closed@1", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    group.Start("receiver", SayOnce, &ends.client, "");
    co_await SleepFor(Ticks(1));
    co_await ends.client.Close();
    co_return co_await group.Join();
  });
}

TEST(Tcp, CloseWakesWhoSends) {
  Conforms("closed@1", [](TaskGroup& group) -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    const std::string plenty = Plenty();
    group.Start("sender", [&]() -> Task<void> {
      Saw(Kind(co_await ends.client.Send(plenty)));
    });
    co_await SleepFor(Ticks(1));
    co_await ends.client.Close();
    co_return co_await group.Join();
  });
}

TEST(Tcp, CloseWakesWhoAccepts) {
  Conforms("closed@1", [](TaskGroup& group) -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    group.Start("acceptor", [&]() -> Task<void> {
      Saw(Kind((co_await listener.Accept()).status()));
    });
    co_await SleepFor(Ticks(1));
    co_await listener.Close();
    co_return co_await group.Join();
  });
}

TEST(Tcp, AStreamThatIsClosedRefusesEverything) {
  Conforms("closed, closed, closed, closed", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await ends.client.Close();
    co_await ends.client.Close();
    Saw(Kind(co_await ends.client.Send("x")));
    co_await SayOnce(&ends.client);
    Saw(Kind((co_await ends.client.ReceiveChunk()).status()));
    Saw(Kind(co_await ends.client.SendEof()));
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------------------------ chunks

TEST(Tcp, AChunkIsLentAndTheEndIsAnEmptyOne) {
  Conforms("hello, ''", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.Send("hello"));
    co_await OrReturn(ends.client.SendEof());
    Saw((co_await OrReturn(ends.server.ReceiveChunk())).text());
    Saw("'" +
        std::string((co_await OrReturn(ends.server.ReceiveChunk())).text()) +
        "'");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AChunkMayBeSentAsItIsAndOutliveItsStream) {
  Conforms("echo, echo", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    co_await OrReturn(ends.client.Send("echo"));
    std::optional<TcpStream> server = std::move(ends.server);
    const Chunk chunk = co_await OrReturn(server->ReceiveChunk());
    co_await OrReturn(server->Send(chunk));
    co_await SayOnce(&ends.client);
    server.reset();
    Saw(chunk.text());
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ChunksThatAreLentHoldTheReaderBack) {
  Conforms("holds back@2, goes on", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());
    std::vector<Chunk> lent;
    for (int i = 0; i < 4; ++i) {
      co_await OrReturn(ends.client.Send("x"));
      lent.push_back(co_await OrReturn(ends.server.ReceiveChunk()));
    }
    co_await OrReturn(ends.client.Send("x"));
    if (!(co_await MoveOnAfter(Ticks(2), ends.server.ReceiveChunk()))
             .has_value())
      Saw("holds back");
    lent.pop_back();
    co_await OrReturn(ends.server.ReceiveChunk());
    Saw("goes on");
    co_return absl::OkStatus();
  });
}

// --------------------------------------------------------------- listeners

TEST(Tcp, ConnectionsWaitToBeAccepted) {
  Conforms("3 accepted", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    std::vector<TcpStream> clients;
    for (int i = 0; i < 3; ++i) {
      clients.push_back(
          co_await OrReturn(TcpStream::Connect(listener.local_address())));
    }
    int accepted = 0;
    for (const TcpStream& client : clients) {
      const TcpStream server = co_await OrReturn(listener.Accept());
      accepted += server.peer_address() == client.local_address() ? 1 : 0;
    }
    Saw(std::to_string(accepted) + " accepted");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, WhatWasSentBeforeTheAcceptIsThere) {
  Conforms("early", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener.local_address()));
    co_await OrReturn(client.Send("early"));
    TcpStream server = co_await OrReturn(listener.Accept());
    co_await SayOnce(&server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AListenerThatClosesResetsWhatNobodyAccepted) {
  Conforms("broken", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener.local_address()));
    co_await listener.Close();
    co_await SayOnce(&client);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ConnectionsOutliveTheirListener) {
  Conforms("still here", []() -> Task<absl::Status> {
    TcpEnds ends = co_await OrReturn(ConnectedTcp());  // its listener is gone
    co_await OrReturn(ends.client.Send("still here"));
    co_await SayOnce(&ends.server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, APortThatIsTakenIsSaidSo) {
  Conforms("ALREADY_EXISTS; names it", []() -> Task<absl::Status> {
    TcpListener first = co_await OrReturn(TcpListener::Bind(kLoopback));
    const absl::Status second =
        TcpListener::Bind(first.local_address()).status();
    Saw(Kind(second) + (Text(second).find(first.local_address().ToString()) !=
                                std::string::npos
                            ? "; names it"
                            : ""));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, APortIsFreeAgainOnceCloseHasCompleted) {
  Conforms("listened 5 times", []() -> Task<absl::Status> {
    SocketAddress address = co_await OrReturn(SocketAddress::Parse(kLoopback));
    for (int i = 0; i < 5; ++i) {
      TcpListener listener = co_await OrReturn(TcpListener::Bind(address));
      address = listener.local_address();
      co_await listener.Close();
    }
    Saw("listened 5 times");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, SpeaksIPv6) {
  Conforms("six", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("[::1]:0"));
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener.local_address()));
    TcpStream server = co_await OrReturn(listener.Accept());
    EXPECT_TRUE(server.peer_address().is_v6());
    co_await OrReturn(client.Send("six"));
    co_await SayOnce(&server);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AServerTalksToManyClientsAtOnce) {
  Conforms("20 echoes", [](TaskGroup& group) -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    group.Start("server", [&]() -> Task<absl::Status> {
      for (;;) {
        group.Start(
            "connection",
            [](TcpStream stream) -> Task<absl::Status> {
              for (;;) {
                const Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
                if (chunk.empty()) co_return absl::OkStatus();
                co_await OrReturn(stream.Send(chunk));
              }
            },
            co_await OrReturn(listener.Accept()));
      }
    });
    int echoes = 0;
    co_await OrReturn(WithTaskGroup([&](TaskGroup& clients) -> Task<void> {
      for (int i = 0; i < 20; ++i) {
        clients.Start("client", [&, i]() -> Task<absl::Status> {
          TcpStream stream =
              co_await OrReturn(TcpStream::Connect(listener.local_address()));
          const std::string text = "hello " + std::to_string(i);
          co_await OrReturn(stream.Send(text));
          echoes += co_await ReceiveOnce(&stream) == text ? 1 : 0;
          co_return absl::OkStatus();
        });
      }
      co_return;
    }));
    Saw(std::to_string(echoes) + " echoes");
    group.Cancel();
    co_return co_await group.Join();
  });
}

}  // namespace
}  // namespace braid::conformance
