// How a run that mpirun was to carry has ended: its exit code, and what nobody else is left to say.
#pragma once

#include "src/train/run_folder.hpp"

#include <string>

namespace sluice {

class EndedRun {
public:
    /// Before mpirun starts: what stands in status.json is an earlier job's.
    explicit EndedRun(const std::filesystem::path& run_dir);

    /// `wait_status`: of mpirun, by waitpid(). The ranks' own code where mpirun passes one on or
    /// status.json has it, 71 where they ended without a word. Then status.json no longer says
    /// "running", and standard error has a line.
    int exit_code(int wait_status, bool asked_to_stop, bool gave_up);

private:
    bool is_left(); ///< no rank writes into the folder any more

    RunFolder folder_;
    std::string status_before_;
};

} // namespace sluice
