// metrics.jsonl of a run that goes on: what is removed from its end, whatever is in it.
#include "core/logging.hpp"
#include "io/metrics_file.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzz::MemoryFile file;
    static const bool quiet = (start_logging(1, 2), true); // ranks behind the first do not warn
    static_cast<void>(quiet);
    file.hold(fuzz::text_of(data, size));
    fuzz::accepted([&] {
        MetricsFile metrics(file.path(), 7);
        const MetricField field{"update", std::int64_t{8}};
        metrics.write("update", std::span(&field, 1));
    });
    const auto kept = std::filesystem::file_size(file.path());
    fuzz::accepted([&] { MetricsFile again(file.path(), 8); });
    fuzz::require(std::filesystem::file_size(file.path()) == kept, "a whole file stays as it is");
    return 0;
}
