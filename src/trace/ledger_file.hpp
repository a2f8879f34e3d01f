// A ledger as people and programs read it: a table of 80 columns, and JSON (docs/traces.md).
#pragma once

#include "src/trace/ledger.hpp"
#include "src/trace/traced_run.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// What a ledger calls itself; another one after every change that its readers must know of.
inline constexpr std::string_view ledger_format = "sluice-ledger-1";

/// Durably. `trace_name`: of the trace's file beside it. Throws UserError (data).
void write_ledger(const std::filesystem::path& path, const Ledger& ledger, const TracedRun& run,
                  const std::string& trace_name, std::int64_t clock_uncertainty_ns);

/// A line per rank (at most `most_ranks` of them) of the mean update in milliseconds, and a line of
/// shares of all ranks' time.
std::vector<std::string> table_of(const Ledger& ledger, std::size_t most_ranks = 16);

} // namespace sluice
