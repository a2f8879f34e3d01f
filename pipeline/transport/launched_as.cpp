// What launchers tell a process before MPI starts.

#include "pipeline/transport/transport.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
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

/// The digits at the beginning: of "2(x3),1" that is 2.
int first_number_in(const char* variable)
{
    const char* const text = std::getenv(variable);
    int number = 0;
    if (text != nullptr)
        std::from_chars(text, text + std::strlen(text), number);
    return number;
}

/// 0 outside a step of srun: a batch script's own shell has SLURM_PROCID, but no step's number.
int tasks_of_step()
{
    return number_in("SLURM_STEP_ID") ? number_in("SLURM_STEP_NUM_TASKS").value_or(0) : 0;
}

} // namespace

LaunchedAs launched_as()
{
    // mpirun inside a job starts its own helpers with srun: what those tell is not about ranks.
    if (const auto told = told_by("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
        return *told;
    const int num_tasks = tasks_of_step();
    std::optional<LaunchedAs> told;
    if (number_in("PMIX_RANK")) // PMIx tells no size
        told = told_by("SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
    if (!told)
        told = told_by("PMI_RANK", "PMI_SIZE");
    if (!told && num_tasks > 0)
        told = {number_in("SLURM_PROCID").value_or(0), 1, false};
    LaunchedAs launched = told.value_or(LaunchedAs{});
    launched.num_slurm_tasks = num_tasks;
    return launched;
}

int ranks_on_this_machine()
{
    for (const char* variable :
         {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"})
        if (const int count = first_number_in(variable); count > 0)
            return count;
    return 1;
}

} // namespace sluice
