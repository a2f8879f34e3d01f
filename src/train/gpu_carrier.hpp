// What carries messages between the memories of GPUs: chosen once, by all ranks alike.
#pragma once

#include "src/config/run_config.hpp"

#include <cstdint>
#include <string>

namespace sluice {

enum class GpuCarrier : std::uint8_t {
    nccl,   ///< from GPU to GPU
    direct, ///< MPI, from where they lie (CUDA-aware)
    staged, ///< MPI, by way of locked host memory
};

/// The same on every rank.
struct CarrierFacts {
    bool gpus_alone = false;     ///< every rank has one of its own
    bool keeps_order = false;    ///< messages match in the order of the calls, as NCCL needs
    bool has_nccl = false;       ///< compiled in
    bool mpi_takes_gpus = false; ///< CUDA-aware
};

struct ChosenCarrier {
    GpuCarrier carrier = GpuCarrier::staged;
    std::string in_words; ///< "by NCCL: every rank has a GPU of its own"
};

/// Throws UserError (usage) when the run file asks for NCCL where it cannot be used.
ChosenCarrier choose_carrier(GpuTransport asked, const CarrierFacts& facts);

} // namespace sluice
