// Reading a file that somebody may have made to harm: first in a child process, so that a library
// which crashes, loops or takes all memory over it takes the child down and not the run
// (docs/decisions/0013-first-in-a-child.md).
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace sluice {

/// Runs `read` in a child process that has a minute of processor time, 4 GiB more memory than this
/// process, and no voice; what it does there is lost. Returns when it came to its end, and the
/// caller does the same again. Throws the UserError that it threw; and UserError (data) when it
/// ended in any other way: `where` names the file, `library` who reads it, "HDF5". PeerError when
/// somebody else killed the child, the system short of memory for one: nothing is known of the
/// file then. Where no child can be had it returns as if all were well. Not for use inside an
/// update.
void read_on_trial(const std::string& where, std::string_view library,
                   const std::function<void()>& read);

/// What `read()` gives, once it has come to its end on trial.
template <class Read>
auto read_after_trial(const std::string& where, std::string_view library, const Read& read)
{
    read_on_trial(where, library, [&] { read(); });
    return read();
}

} // namespace sluice
