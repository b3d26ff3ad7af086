// Metadata: the headers and trailers of a call.
//
// For: what goes beside a request or reply, such as a trace id or a token.
//
//   context.trailers().Add("retry-pushback-ms", "250");
//   std::optional<std::string_view> id = context.metadata().Get("request-id");
//
// A list of keys and values in order; a key may come several times. Keys are
// lower-case: letters, digits and "_-." only. Values are printable ASCII,
// except under a key that ends in "-bin", which may have any bytes. Keys that
// begin with "grpc-", and HTTP's own, belong to the protocol. Bad entries may
// be added; the call they are for fails with an error that names the entry.
// Source: "gRPC over HTTP/2", Custom-Metadata.

#ifndef BRAID_RPC_METADATA_H_
#define BRAID_RPC_METADATA_H_

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace braid::rpc {

class Metadata {
 public:
  struct Entry {
    Entry(std::string_view key, std::string_view value)
        : key(key), value(value) {}
    std::string key;
    std::string value;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  Metadata() = default;
  Metadata(std::initializer_list<Entry> entries) : entries_(entries) {}

  // Upper-case letters of the key are made lower-case.
  void Add(std::string_view key, std::string_view value);

  // The first value under `key`; it lives as long as it isn't changed.
  std::optional<std::string_view> Get(std::string_view key) const;
  // All of them, in order.
  std::vector<std::string_view> GetAll(std::string_view key) const;

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

  // INVALID_ARGUMENT naming the first entry that may not be sent.
  absl::Status Validate() const;

  friend bool operator==(const Metadata&, const Metadata&) = default;

 private:
  std::vector<Entry> entries_;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_METADATA_H_
