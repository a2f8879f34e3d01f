// Costs files of the planner.
#include "src/plan/cost_file.hpp"
#include "tests/fuzz/fuzz_input.hpp"

#include <cmath>

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzz::MemoryFile file;
    file.hold(fuzz::text_of(data, size));
    CostConditions wanted;
    wanted.model.vocab_size = 16;
    wanted.model.hidden_size = 8;
    wanted.model.intermediate_size = 4;
    wanted.model.num_heads = 2;
    wanted.micro_batch.num_sequences = 1;
    wanted.micro_batch.seq_len = 32;
    wanted.precision = "fp32";
    wanted.device = "cpu";
    fuzz::accepted([&] {
        const CostModel costs = read_cost_file(file.path(), wanted);
        fuzz::require(std::isfinite(costs.decoder_layer.total()) &&
                          costs.decoder_layer.total() > 0.0 &&
                          costs.transfer_bytes_per_second >= 1.0,
                      "costs are numbers");
    });
    return 0;
}
