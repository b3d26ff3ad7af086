// What a scrape gets to read: a registry in one of Prometheus' text formats.
//
//   metrics::Format format = metrics::NegotiateFormat(accept_header);
//   metrics::Exposition exposition(registry, format);
//   std::string body;
//   while (exposition.AppendNext(body)) co_await Checkpoint();
//
// Parts are small: between two of them, other tasks run.
//
// Text is UTF-8, families are sorted by name and series by their label values,
// so that two scrapes differ in values only. Numbers are the shortest that read
// back exactly. What can't be exposed is left out and named by problems(); it
// never spoils the rest.

#ifndef BRAID_METRICS_EXPOSITION_H_
#define BRAID_METRICS_EXPOSITION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "braid/metrics/registry.h"

namespace braid::metrics {

enum class Format : uint8_t {
  kText,         // Prometheus' text format 0.0.4
  kOpenMetrics,  // OpenMetrics 1.0.0: with units and exemplars. Creation times
                 // are left out: Prometheus would make a series of each.
};

// The value for an HTTP Content-Type header.
std::string_view ContentType(Format format);

// The format that an HTTP Accept header asks for (RFC 9110, 12.5.1): the one
// with the highest weight, the first named of two with the same. kText if the
// header is empty or names neither, as a browser's.
Format NegotiateFormat(std::string_view accept);

// One scrape. Registries, handles and families may come and go meanwhile.
// Threads: one at a time; callbacks and collectables are called on it.
class Exposition {
 public:
  // Calls Collect() of the registry's collectables at once.
  Exposition(const Registry& registry, Format format);
  Exposition(Exposition&&) noexcept;
  Exposition& operator=(Exposition&&) noexcept;
  ~Exposition();

  // Appends the next lines, of about a hundred series, to `out`. False if these
  // were the last.
  bool AppendNext(std::string& out);

  // What this scrape had to leave out and why, a line each, for a log. At most
  // 20.
  const std::vector<std::string>& problems() const;

 private:
  struct State;

  std::unique_ptr<State> state_;
};

// A whole exposition.
std::string Expose(const Registry& registry, Format format);

}  // namespace braid::metrics

#endif  // BRAID_METRICS_EXPOSITION_H_
