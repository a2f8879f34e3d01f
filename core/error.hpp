// Three kinds of failure, kept apart on purpose.
//
// A *user's mistake* (bad flag, bad file, full disk) is a UserError: one message that states the
// problem, where it is, and what to do about it; it ends the program with exit code 2 or 3, or 71
// where it is a machine that somebody must look at, and running again may succeed.
// A *broken promise of ours* is an InvariantError, raised by SLUICE_CHECK with file, line and
// values; it ends the whole job with exit code 70.
// A *failed peer or device* is a PeerError: nothing is wrong with the run file or with this
// program, and running again may succeed; it ends the whole job with exit code 71.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace sluice {

/// Exit codes of `sluice` (the contract with launch scripts).
enum class ExitCode : int {
    finished = 0,
    usage = 2,      ///< bad command line or run file
    data = 3,       ///< bad or missing data or checkpoint
    invariant = 70, ///< a promise of this program is broken
    peer = 71,      ///< a peer or a device failed or hung
    stopped = 75,   ///< stopped on request after saving; run again to continue
};

/// A mistake somebody can mend. Every part is a plain sentence fragment without a final full stop.
class UserError : public std::runtime_error {
public:
    /// `problem`: what is wrong, with the offending value. `where`: file, line, key; may be empty.
    /// `remedy`: what to do; may be empty.
    UserError(ExitCode code, std::string problem, std::string where, std::string remedy);

    ExitCode code() const noexcept { return code_; }
    const std::string& problem() const noexcept { return problem_; }
    const std::string& where() const noexcept { return where_; }
    const std::string& remedy() const noexcept { return remedy_; }

private:
    ExitCode code_;
    std::string problem_, where_, remedy_;
};

/// Bad command line or run file (exit code 2).
UserError usage_error(std::string problem, std::string where = {}, std::string remedy = {});
/// Bad, missing or unwritable data or checkpoint (exit code 3).
UserError data_error(std::string problem, std::string where = {}, std::string remedy = {});

/// A broken internal promise (exit code 70).
class InvariantError : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// A peer rank or a device failed (exit code 71).
class PeerError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

[[noreturn]] void raise_invariant(const char* file, int line, const char* condition,
                                  const std::string& values);

} // namespace sluice

/// SLUICE_CHECK(condition, "rows " << rows << ", expected " << n): always on, never for user input.
#define SLUICE_CHECK(condition, values)                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::ostringstream sluice_check_values;                                                \
            sluice_check_values << values;                                                         \
            ::sluice::raise_invariant(__FILE__, __LINE__, #condition, sluice_check_values.str());  \
        }                                                                                          \
    } while (false)
