// What launchers tell a process before MPI starts.

#include "pipeline/transport/transport.hpp"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace sluice {

namespace {

std::optional<int> number_in(const char* variable)
{
    const char* const text = std::getenv(variable);
    if (text == nullptr)
        return std::nullopt;
    const std::string_view digits(text);
    int number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
        return std::nullopt;
    return number;
}

std::optional<LaunchedAs> told_by(const char* rank_variable, const char* size_variable)
{
    const auto rank = number_in(rank_variable);
    const auto size = number_in(size_variable);
    if (!rank || !size || *size < 1 || *rank < 0 || *rank >= *size)
        return std::nullopt;
    return LaunchedAs{*rank, *size, true};
}

} // namespace

LaunchedAs launched_as()
{
    if (const auto told = told_by("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
        return *told;
    if (const auto told = told_by("PMI_RANK", "PMI_SIZE"))
        return *told;
    // srun sets SLURM_PROCID in the batch script's own shell too, where no MPI was launched: only
    // a step with PMIx (srun --mpi=pmix) is one, and PMIx tells no size.
    if (number_in("PMIX_RANK"))
        if (const auto told = told_by("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))
            return *told;
    return {};
}

} // namespace sluice
