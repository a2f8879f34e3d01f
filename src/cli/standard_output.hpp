// What a command said has to have arrived: a full disk is no success.
#pragma once

namespace sluice {

/// Writes out what is buffered. Throws UserError (data) when standard output did not take all that
/// was said.
void flush_standard_output();

/// Whether standard output has refused something.
bool standard_output_failed();

} // namespace sluice
