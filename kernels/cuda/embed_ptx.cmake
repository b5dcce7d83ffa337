# cmake -D PTX=… -D OUT=… -P: PTX text as a C++ string.  The text of nvcc 12 and 13 is the same language as 7.8's
# for what our kernels use (ptxas checks it, tests/cuda/ptx_test.cmake); only the number in its head keeps older drivers out.
file(READ ${PTX} text)
string(REGEX REPLACE "\n\\.version [0-9.]+\n" "\n.version 7.8\n" text "${text}")
string(REGEX REPLACE "//[^\n]*\n" "\n" text "${text}")
if(NOT text MATCHES "\n\\.version 7\\.8\n")
  message(FATAL_ERROR "${PTX}: expected a .version line")
endif()
file(WRITE ${OUT} "extern \"C\" const char wdmoe_expert_kernels_ptx[];\nconst char wdmoe_expert_kernels_ptx[] = R\"ptx(${text})ptx\";\n")
