// The batch script that `sluice submit` writes: one file with everything in it, chain.sh included.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

/// slurm/chain.sh, put into the program when it was built.
extern const std::string_view chain_script;

struct BatchJob {
    std::string comment; ///< said in the first lines; may have several
    /// sbatch's options in order: {"nodes", "2"}; without a value {"exclusive", ""}.
    std::vector<std::pair<std::string, std::string>> sbatch;
    std::vector<std::pair<std::string, std::string>> variables; ///< exported
    std::string run_file;
    std::vector<std::string> train_options; ///< of `sluice train`
};

/// Throws UserError (usage) for a line break in an option, which would end it.
std::string batch_script(const BatchJob& job);

/// As one word of a shell, whatever is in it.
std::string shell_word(std::string_view text);

} // namespace sluice
