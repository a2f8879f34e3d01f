#include "benchmarks/gpu_update_table.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

std::string text(const nlohmann::json& row, const char* key) { return row[key].get<std::string>(); }

double number(const nlohmann::json& row, const char* key) { return row[key].get<double>(); }

/// As "42% met"; "-" where nothing is asked.
std::string against(const nlohmann::json& row, const std::string& target, const char* which)
{
    if (!row.contains("verdicts") || !row["verdicts"].contains(target) ||
        !row["verdicts"][target].contains(which))
        return "-";
    return fmt::format("{:.0f}% {}", 100.0 * row["targets"][target][which].get<double>(),
                       row["verdicts"][target][which].get<std::string>());
}

} // namespace

void print_updates_title(std::int64_t positions, std::int64_t full_micro_batch)
{
    fmt::print("\nwhole updates of 4 micro-batches, sequences of {} tokens; FLOPs: 6 N + 6 L d s "
               "per token; floors and goals from {} sequences on\n{:<15} {:>9} {:>9} {:>6} {:>10} "
               "{:>19} {:>11} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9} {:>7} {:>9}\n",
               positions, full_micro_batch, "model", "precision", "recompute", "batch", "s/update",
               "(least..most)", "tokens/s", "TFLOP/s", "of product", "sustained", "floor", "goal",
               "MiB", "of plan", "GPU's MiB");
}

void print_update(const nlohmann::json& row)
{
    fmt::print("{:<15} {:>9} {:>9} {:>6} ", text(row, "preset"), text(row, "precision"),
               text(row, "recompute"), row["micro_batch_size"].get<int>());
    if (row.contains("failed"))
        fmt::print("failed: {}\n", text(row, "failed"));
    else if (!row["fits"].get<bool>())
        fmt::print("does not fit: needs {:.0f} MiB, {:.0f} MiB are free, a tenth of them for "
                   "libraries\n",
                   number(row, "needs_mib"), number(row, "free_mib"));
    else
        fmt::print("{:>10.4f} {:>19} {:>11.0f} {:>9.4g} {:>9.1f}% {:>10} {:>9} {:>9} {:>9.0f} "
                   "{:>7.3f} {:>9.0f}\n",
                   number(row, "seconds"),
                   fmt::format("({:.4f}..{:.4f})", row["seconds_range"][0].get<double>(),
                               row["seconds_range"][1].get<double>()),
                   number(row, "tokens_per_second"), number(row, "tflops"),
                   100.0 * number(row, "share_of_matmul"),
                   row.contains("share_of_sustained_matmul")
                       ? fmt::format("{:.1f}%", 100.0 * number(row, "share_of_sustained_matmul"))
                       : "-",
                   against(row, "share_of_matmul", "floor"),
                   against(row, "share_of_matmul", "goal"), number(row, "taken_mib"),
                   number(row, "taken_over_planned"), number(row, "device_mib"));
    std::fflush(stdout); // into a file, too: a run may be cut off
}

void print_graphs(const nlohmann::json& rows)
{
    fmt::print(
        "\nforward and backward passes as CUDA graphs\n{:<15} {:>9} {:>6} {:>14} {:>14} {:>7} "
        "{:>9} {:>9} {:>7}\n",
        "model", "precision", "batch", "s without", "s with", "faster", "launches", "MiB", "auto");
    for (const auto& row : rows) {
        if (!row.contains("seconds_with_graphs"))
            continue;
        const double without = number(row, "seconds_without_graphs"),
                     with = number(row, "seconds_with_graphs");
        fmt::print("{:<15} {:>9} {:>6} {:>14.4f} {:>14.4f} {:>6.2f}x {:>9} {:>9.1f} {:>7}\n",
                   text(row, "preset"), text(row, "precision"), row["micro_batch_size"].get<int>(),
                   without, with, without / with, row["graph_launches"].get<std::int64_t>(),
                   number(row, "graph_mib"), row["graphs"].get<bool>() ? "on" : "off");
    }
}

void print_deep(const nlohmann::json& rows)
{
    bool first = true;
    for (const auto& row : rows) {
        if (!row.contains("share_of_12_layers"))
            continue;
        if (first)
            fmt::print("\ndeep models: their share of the product in that of llama-71m\n");
        first = false;
        fmt::print("{:<15} {:>9} {:>6} {:>6.1f}%   goal {}\n", text(row, "preset"),
                   text(row, "precision"), row["micro_batch_size"].get<int>(),
                   100.0 * number(row, "share_of_12_layers"),
                   against(row, "share_of_12_layers", "goal"));
    }
}

} // namespace sluice
