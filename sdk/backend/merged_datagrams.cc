#include "braid/backend/merged_datagrams.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "braid/backend/posix_backend.h"
#include "braid/backend/posix_socket.h"

namespace braid::detail {
namespace {

constexpr size_t kCacheLine = 64;
// For the longest message there is. Not a multiple of the page, see
// DatagramBlock.
constexpr size_t kStride = 65536 + kCacheLine;

}  // namespace

MergedDatagrams::MergedDatagrams()
    : storage_(
          std::make_unique_for_overwrite<std::byte[]>(kMessages * kStride)) {}

std::span<std::byte> MergedDatagrams::Room(size_t index) const {
  return {storage_.get() + index * kStride, kStride};
}

int MergedDatagrams::Fill(const PosixDescriptor& descriptor, bool& drained) {
  if (error_ != 0) return std::exchange(error_, 0);
  for (size_t i = 0; i < kMessages; ++i) {
    msghdr& header = messages_[i].msg_hdr;
    SetReceiving(header, parts_[i], Room(i), peers_[i]);
    header.msg_control = &controls_[i];
    header.msg_controllen = sizeof(Control);
  }
  const int received = Retrying([&] {
    return ::recvmmsg(descriptor.fd.get(), messages_.data(), kMessages,
                      MSG_DONTWAIT, nullptr);
  });
  if (received < 0) return errno;
  next_ = 0;
  received_ = static_cast<size_t>(received);
  drained = received_ < kMessages;
  return 0;
}

void MergedDatagrams::Open(const PosixDescriptor& descriptor) {
  const mmsghdr& message = messages_[next_];
  rest_ = Room(next_).first(message.msg_len);
  segment_ = SegmentSizeOf(message.msg_hdr);
  if (segment_ == 0) segment_ = rest_.size();
  peer_ = message.msg_hdr.msg_namelen == 0 ? descriptor.peer : peers_[next_];
  local_ = descriptor.wants_destination
               ? DestinationOf(message.msg_hdr, descriptor.local)
               : descriptor.local;
  ++next_;
}

void MergedDatagrams::PopInto(const PosixDescriptor& descriptor,
                              Datagram& datagram) {
  if (rest_.empty()) Open(descriptor);
  datagram.size = std::min(segment_, rest_.size());
  datagram.data = std::span(datagram.data)
                      .first(std::min(datagram.size, datagram.data.size()));
  std::memcpy(datagram.data.data(), rest_.data(), datagram.data.size());
  rest_ = rest_.subspan(datagram.size);
  datagram.peer = peer_;
  datagram.local = local_;
}

}  // namespace braid::detail
